"""The newest frame wins, a dead runtime comes back, and nothing waits for anything.

The models here are Python functions that stop at gates the test opens, so "slow" is an order of events and no time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_fakes import FakeArtifact, ScriptedSource, fake_load, grey, write_artifact
from numpy.typing import NDArray
from PIL import Image
from waiting import PATIENCE, wait_until

import edgecvx_live.engine
from edgecvx.errors import ArtifactError, EdgecvxError, RuntimeFailedError, UsageError
from edgecvx.manifest import read_manifest
from edgecvx.spec import Precision, Task, TensorSpec
from edgecvx_live.engine import Engine
from edgecvx_live.lane import GIVE_UP
from edgecvx_live.sources.base import SourceLostError, SourceMissingError
from edgecvx_live.values import Frame, Result, as_json

Answer = Callable[[NDArray[Any]], Sequence[float]]


class SlowModel:
    """Answers with the frame's brightness, each time only after the test lets it."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.levels: list[int] = []

    def __call__(self, batch: NDArray[Any]) -> Sequence[float]:
        self.levels.append(int(batch[0, 0, 0, 0]))
        self.began.release()
        assert self.may_end.acquire(timeout=PATIENCE)
        return (0.0, 1.0, 2.0)


def brightness(batch: NDArray[Any]) -> Sequence[float]:
    """Class 0 for a dark picture, class 2 for a bright one."""
    return (8.0, 0.0, 0.0) if batch.mean() < 128 else (0.0, 0.0, 8.0)


@pytest.fixture(autouse=True)
def unhurried_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame is late or past because this machine is busy; the tests of those two say what is."""
    for limit in ("_FRESH", "_PAST"):
        monkeypatch.setattr(edgecvx_live.engine, limit, PATIENCE)


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource()


@pytest.fixture
def make(tmp_path: Path, source: ScriptedSource) -> Iterator[Callable[..., Engine]]:
    """Makes and starts an engine on the scripted source; stops it at the end."""
    engines: list[Engine] = []

    def made(load: Any, *, files: int = 1, smoothing: float = 0.0) -> Engine:
        paths = [write_artifact(tmp_path, f"model{n}.tflite") for n in range(files)]
        engines.append(Engine(paths, source, smoothing=smoothing, load=load))
        engines[-1].start()
        return engines[-1]

    yield made
    for engine in engines:
        engine.stop()


def next_result(engine: Engine, after: int = 0) -> tuple[int, Result]:
    got = engine.results.wait(after, timeout=PATIENCE)
    assert got is not None, f"no result: {engine.status()}"
    return got


def wait_for_frame(engine: Engine, number: int) -> None:
    """Waits until this frame is what the model would be given next."""
    wait_until(lambda: (newest := engine.frames.latest()) is not None and newest.number == number, f"frame {number}")


def wait_for_result(engine: Engine, frame: int) -> None:
    """Waits until what was said last is about this frame."""
    wait_until(lambda: (newest := engine.results.latest()) is not None and newest.frame == frame, f"result {frame}")


def test_a_slow_model_takes_the_newest_frame_and_skips_the_rest(
    make: Callable[..., Engine], source: ScriptedSource
) -> None:
    """Capture goes on while the model is at work, and what is started next is always the last frame that came.

    So no frame is older, when it is started, than the inference before it took and the camera's own period.
    """
    model = SlowModel()
    engine = make(fake_load(model))
    source.give(grey(0))
    assert model.began.acquire(timeout=PATIENCE)
    for burst in range(1, 6):
        for level in range(40 * burst, 40 * burst + 30):  # thirty frames during one inference
            source.give(grey(level))
        wait_for_frame(engine, 30 * burst)
        model.may_end.release()
        assert model.began.acquire(timeout=PATIENCE)
    model.may_end.release()
    assert model.levels == [0, 69, 109, 149, 189, 229]
    wait_for_result(engine, 150)
    assert engine.source_state().dropped == 151 - 6


def test_a_frame_that_is_past_is_not_started(make: Callable[..., Engine], source: ScriptedSource) -> None:
    """Of a camera that stopped while a file was being opened, the last frame must not be shown as what is there now."""
    engine = make(fake_load(brightness))
    stale = Frame(number=99, captured=time.monotonic() - 3 * PATIENCE, capture_ms=0.0, pixels=grey(10))
    serial = engine.frames.put(stale)
    wait_until(lambda: engine.frames.replaced == 0 and engine._is_past(stale), "the frame is past")
    source.give(grey(20))
    _, result = next_result(engine)
    assert (serial, result.frame) == (1, 0)


def test_no_frame_is_started_that_would_be_older_than_two_inferences(
    make: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that waited longer than a frame takes is left for the next; not for ever, where all are late.

    The cheapest recent frame decides, and a bit less than it: what this one will cost is known only afterwards.
    """
    engine = make(fake_load(brightness))
    for limit in ("_FRESH", "_PAST"):
        monkeypatch.setattr(edgecvx_live.engine, limit, 1.0)
    second = PATIENCE  # no machine is so slow that it blurs this
    engine._costs.extend([60.0 * second] * 14 + [20.0 * second])
    ages = [age * second for age in (0.0, 10.0, 18.0, 600.0)]
    now = time.monotonic()
    frames = [Frame(number=0, captured=now - age, capture_ms=0.0, pixels=grey(10)) for age in ages]
    assert [engine._is_late(frame) for frame in frames] == [False, False, True, True]
    engine._skipped = 3
    assert not any(map(engine._is_late, frames))
    assert [engine._is_past(frame) for frame in frames] == [False, False, False, True]


def test_the_last_picture_before_a_quiet_spell_is_answered(
    make: Callable[..., Engine], source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A motion sensor gives two pictures and then none: the second waited for too long, but nothing newer comes."""
    model = SlowModel()
    engine = make(fake_load(model))
    source.give(grey(10))
    assert model.began.acquire(timeout=PATIENCE)
    source.give(grey(20))
    wait_for_frame(engine, 1)
    monkeypatch.setattr(engine, "_is_late", lambda frame: True)
    model.may_end.release()
    assert model.began.acquire(timeout=PATIENCE)
    model.may_end.release()
    wait_for_result(engine, 1)
    assert model.levels == [10, 20]


def test_what_frames_cost_is_learned_anew_for_another_model(make: Callable[..., Engine]) -> None:
    """Or the first frames of a fast model could wait as long as those of a slow one."""
    engine = make(fake_load(brightness), files=2)
    engine._costs.extend([20.0] * 15)
    engine.select(["model1.tflite"])
    wait_until(lambda: not engine._costs, "the costs are forgotten")


def test_a_pause_stops_the_model_and_not_the_camera(make: Callable[..., Engine], source: ScriptedSource) -> None:
    levels: list[int] = []

    def answer(batch: NDArray[Any]) -> Sequence[float]:
        levels.append(int(batch[0, 0, 0, 0]))
        return brightness(batch)

    engine = make(fake_load(answer))
    source.give(grey(10))
    serial, _ = next_result(engine)
    engine.pause(True)
    assert engine.status().paused
    for level in (20, 30, 40):
        source.give(grey(level))
    wait_for_frame(engine, 3)
    engine.pause(False)
    next_result(engine, serial)
    assert levels == [10, 40]


def test_a_result_says_how_its_time_was_spent(make: Callable[..., Engine], source: ScriptedSource) -> None:
    engine = make(fake_load(brightness))
    source.give(grey(200))
    _, result = next_result(engine)
    reading = result.readings[0]
    assert reading.top[0].label == "green ring"
    assert sum(r.probability for r in reading.top) == pytest.approx(1)
    assert result.waited_ms + reading.prepare_ms + reading.infer_ms <= result.age_ms
    assert result.end_to_end_ms == pytest.approx(result.capture_ms + result.age_ms)
    assert as_json(result)["readings"][0]["top"][0]["label"] == "green ring"


def test_two_files_answer_the_same_frame(make: Callable[..., Engine], source: ScriptedSource) -> None:
    """Side by side, and the picture is prepared once for both."""
    seen: dict[str, list[int]] = {}

    def load(path: Path) -> FakeArtifact:
        def answer(batch: NDArray[Any]) -> Sequence[float]:
            seen.setdefault(path.name, []).append(id(batch))
            return brightness(batch)

        return FakeArtifact(read_manifest(path), answer)

    engine = make(load, files=2)
    engine.select(["model1.tflite", "model0.tflite"])
    source.give(grey(10))
    serial, result = next_result(engine)
    if len(result.readings) == 1:  # taken up before the choice
        source.give(grey(20))
        serial, result = next_result(engine, serial)
    assert [reading.model for reading in result.readings] == ["model1.tflite", "model0.tflite"]
    assert seen["model0.tflite"][-1] == seen["model1.tflite"][-1]


def test_what_is_not_chosen_is_closed(make: Callable[..., Engine], source: ScriptedSource) -> None:
    opened: list[FakeArtifact] = []

    def load(path: Path) -> FakeArtifact:
        opened.append(FakeArtifact(read_manifest(path), brightness))
        return opened[-1]

    engine = make(load, files=2)
    wait_until(lambda: len(opened) == 1, "the first file is opened")
    engine.select(["model1.tflite"])
    wait_until(lambda: len(opened) == 2 and opened[0].closed, "the second is opened, the first closed")
    assert engine.status().active == ("model1.tflite",)
    assert not opened[1].closed
    engine.stop()
    assert opened[1].closed


@pytest.mark.parametrize("ids", [[], ["nobody"], ["model0.tflite"] * 2, ["model0.tflite", "model1.tflite", "x"]])
def test_a_choice_that_makes_no_sense_changes_nothing(make: Callable[..., Engine], ids: list[str]) -> None:
    engine = make(fake_load(brightness), files=2)
    with pytest.raises(UsageError):
        engine.select(ids)
    assert engine.status().active == ("model0.tflite",)


class Mortal:
    """Loads that die when they are told to."""

    def __init__(self, deaths: int) -> None:
        self.deaths, self.loads = deaths, 0

    def load(self, path: Path) -> FakeArtifact:
        """Opens one more."""
        self.loads += 1
        return FakeArtifact(read_manifest(path), self.answer if path.name == "model0.tflite" else brightness)

    def answer(self, batch: NDArray[Any]) -> Sequence[float]:
        """Dies, or answers."""
        if self.deaths:
            self.deaths -= 1
            raise RuntimeFailedError("tflite died with SIGSEGV while running model0.tflite")
        return brightness(batch)


def test_a_runtime_that_dies_once_is_opened_again_and_nobody_is_troubled(
    make: Callable[..., Engine], source: ScriptedSource
) -> None:
    mortal = Mortal(deaths=1)
    engine = make(mortal.load)
    for level in (10, 20, 30):
        source.give(grey(level))
    wait_until(lambda: mortal.loads == 2, "the file is opened again")
    source.give(grey(40))
    next_result(engine)
    assert engine.error() is None


def test_a_runtime_that_dies_twice_is_told_and_the_other_goes_on(
    make: Callable[..., Engine], source: ScriptedSource
) -> None:
    mortal = Mortal(deaths=1000)
    engine = make(mortal.load, files=2)
    engine.select(["model0.tflite", "model1.tflite"])

    def told() -> str | None:
        source.give(grey(1))
        return engine.error()

    error = wait_until(told, "the deaths are told")
    assert "SIGSEGV" in str(error)
    assert "in a row" in str(error)
    source.give(grey(240))
    wait_until(
        lambda: (r := engine.results.latest()) is not None and r.readings[0].top[0].label == "green ring",
        "the answer of the other to the bright picture",
    )
    _, result = next_result(engine)
    assert [reading.model for reading in result.readings] == ["model1.tflite"]


def test_status_tells_everything_and_is_plain_json(make: Callable[..., Engine], source: ScriptedSource) -> None:
    engine = make(fake_load(brightness))
    source.give(grey(1))
    next_result(engine)
    status = engine.status()
    assert status.source.state == "running"
    assert status.models[0].labels_count == 3
    assert status.memory_bytes > 1 << 20
    assert as_json(status)["source"]["kind"] == "scripted"


def test_a_missing_camera_is_told_and_taken_up_when_it_comes(
    make: Callable[..., Engine], source: ScriptedSource
) -> None:
    source.refusals = [SourceMissingError("there is no camera: plug it in")]
    engine = make(fake_load(brightness))
    wait_until(lambda: engine.source_state().state == "missing", "the camera is told to be missing")
    assert engine.source_state().sentence == "there is no camera: plug it in"
    source.give(grey(1))
    next_result(engine)
    assert engine.source_state().state == "running"
    assert engine.source_state().sentence == ""


def test_a_lost_camera_comes_back_and_its_frames_count_on(make: Callable[..., Engine], source: ScriptedSource) -> None:
    engine = make(fake_load(brightness))
    source.give(grey(1))
    serial, first = next_result(engine)
    source.give(SourceLostError("pulled out"))
    wait_until(lambda: engine.source_state().state == "lost", "the camera is told to be lost")
    wait_until(lambda: source.opened == 2, "the camera is opened again")
    source.script.put(grey(2))
    _, second = next_result(engine, serial)
    assert (first.frame, second.frame) == (0, 1)


def test_a_cut_starts_the_average_anew(make: Callable[..., Engine], source: ScriptedSource) -> None:
    """With a minute of smoothing, the old answer would stay on the screen for a minute."""
    engine = make(fake_load(brightness), smoothing=60.0)
    source.give(grey(10))
    serial, first = next_result(engine)
    source.give(grey(220))
    _, second = next_result(engine, serial)
    assert [first.readings[0].top[0].label, second.readings[0].top[0].label] == ["red star", "green ring"]


def test_pictures_are_of_the_result_and_no_larger_than_the_frame(
    make: Callable[..., Engine], source: ScriptedSource
) -> None:
    engine = make(fake_load(brightness))
    assert engine.picture() is None
    source.give(grey(10))
    serial, dark = next_result(engine)
    source.give(grey(240))
    next_result(engine, serial)
    assert brightness_of(engine.picture(dark, 32)) == (32, 10)
    assert brightness_of(engine.picture(None, 5000)) == (64, 240)
    assert engine.picture(dark, 32) is engine.picture(dark, 32), "twenty viewers share one encoding"
    for width in range(1, 60):
        engine.picture(dark, width)
    assert len(engine._encoded) <= 16, "whoever asks for every width fills no memory"


def brightness_of(jpeg: bytes | None) -> tuple[int, int]:
    """A picture's width and brightness."""
    import io

    assert jpeg is not None
    with Image.open(io.BytesIO(jpeg)) as image:
        return image.width, round(float(np.asarray(image).mean()))


def test_a_file_of_a_batch_of_two_is_fed_the_frame_twice(
    tmp_path: Path, make: Callable[..., Engine], source: ScriptedSource
) -> None:
    shapes: list[tuple[int, ...]] = []
    path = write_artifact(
        tmp_path,
        "two.tflite",
        input=TensorSpec(name="image", shape=(2, 32, 32, 3), dtype="uint8", layout="NHWC"),
        outputs=(TensorSpec(name="logits", shape=(2, 3), dtype="float32", layout="NC"),),
    )

    def answer(batch: NDArray[Any]) -> Sequence[float]:
        shapes.append(batch.shape)
        return brightness(batch)

    with Engine([path], source, load=fake_load(answer)) as engine:
        source.give(grey(1))
        next_result(engine)
    assert shapes[0] == (2, 32, 32, 3)


def test_what_cannot_be_shown_is_refused_before_anything_starts(tmp_path: Path, source: ScriptedSource) -> None:
    with pytest.raises(UsageError, match="at least one"):
        Engine([], source)
    with pytest.raises(ArtifactError, match="no file"):
        Engine([tmp_path / "none.tflite"], source)
    features = write_artifact(
        tmp_path,
        task=Task.FEATURES,
        outputs=(TensorSpec(name="map", shape=(1, 8, 8, 8), dtype="float32", layout="NHWC"),),
    )
    with pytest.raises(EdgecvxError, match="not classes"):
        Engine([features], source)
    assert source.opened == 0


def test_the_same_file_name_in_two_folders_makes_two_models(tmp_path: Path, source: ScriptedSource) -> None:
    engine = Engine([write_artifact(tmp_path / "a"), write_artifact(tmp_path / "b")], source)
    assert [model.id for model in engine.status().models] == ["model-fp32.tflite", "model-fp32.tflite (2)"]
    assert engine.status().models[0].precision == Precision.FP32.value


def test_a_file_that_always_dies_is_left_alone_in_the_end(tmp_path: Path) -> None:
    """By the lane itself, so that no test waits for its pauses."""
    from edgecvx_live.engine import _lanes
    from edgecvx_live.lane import Prepared

    mortal = Mortal(deaths=1000)
    (lane,) = _lanes([write_artifact(tmp_path, "model0.tflite")], mortal.load, 0.0)
    frame = Prepared(Frame(number=0, captured=0.0, capture_ms=0.0, pixels=grey(1)))
    for death in range(1, GIVE_UP + 1):
        lane._not_before = 0.0  # no waiting here
        assert lane.open()
        assert lane.read(frame, cut=False) is None
        assert (lane.sentence is None) is (death == 1)
    assert not lane.open()
    assert "left alone" in str(lane.sentence)
    mortal.deaths = 0
    lane.forgive()
    assert lane.open()
    assert lane.read(frame, cut=False) is not None
    assert lane.sentence is None


def test_an_answer_that_is_no_number_is_told_and_not_averaged(
    make: Callable[..., Engine], source: ScriptedSource
) -> None:
    """As of a file in FP16 that overflows: one NaN would stay in the average for ever."""
    nan = float("nan")
    engine = make(fake_load(lambda batch: (nan, 0.0, 0.0) if batch.mean() < 10 else brightness(batch)), smoothing=0.4)
    source.give(grey(20))
    serial, _ = next_result(engine)
    source.give(grey(5))
    wait_until(lambda: "answers NaN or infinity" in (engine.error() or ""), "the NaN is told")
    source.give(grey(20))
    _, result = next_result(engine, serial)
    assert result.readings[0].top[0].probability > 0.9
    assert engine.error() is None


@pytest.mark.parametrize(
    ("target", "threads"), [("raspberrypi5", 3), ("tflite", None), ("jetson-orin-nano", None), ("of tomorrow", None)]
)
def test_a_file_runs_with_the_threads_its_device_is_known_for(
    target: str, threads: int | None, tmp_path: Path, source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_artifact(tmp_path, target=target)
    asked: list[int | None] = []

    def load(path: Path, *, threads: int | None) -> FakeArtifact:
        asked.append(threads)
        return FakeArtifact(read_manifest(path), brightness)

    monkeypatch.setattr("edgecvx.load", load)
    for cores in (4, 2):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        engine = Engine([path], source)
        engine._lanes[path.name].open()
    assert asked == [threads, threads and 2], "and never more than there are cores"
    Engine([path], source, threads=1)._lanes[path.name].open()
    assert asked[-1] == 1, "what is said goes before it"
