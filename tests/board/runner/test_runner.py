"""The runner as the host meets it: a process that takes an order and answers in events, whatever happens."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import onboarded
import psutil
import pytest
from onboarded import artifact, errors_of, job, measure, names, next_event, runner, turns, until, write_order
from waiting import PATIENCE, wait_for_end

import edgecvx
from edgecvx.board import MARK, PROTOCOL
from edgecvx.board.device import memory
from edgecvx.board.runner import worker_process as crew
from edgecvx.board.runner.coordinator import Measurement
from edgecvx.board.runner.host import Host
from edgecvx.board.runner.order import read_order
from edgecvx.board.runner.worker_process import Worker, WorkerError, place
from edgecvx.results.latency import Conditions, Fingerprint, Memory, Turn
from edgecvx.spec import from_json


def test_a_whole_measurement_tells_everything_in_order(tmp_path: Path) -> None:
    events = measure(job(tmp_path, {"a0": {}, "a1": {}}, end_to_end=True, memory=True, rounds=2))
    opening = ["opened", "warm"]
    turn = ["turn"] * 4
    assert names(events) == [
        *("hello", "fingerprint", "before"),
        *("memory", "memory"),
        *opening,
        *opening,
        *(*turn, "round"),
        *(*turn, "round"),
        *("after", "done"),
    ]
    assert events[0]["protocol"] == PROTOCOL
    opened = events[5]
    assert opened["load_ns"] > 0 < opened["first_ns"]
    assert opened["threads"] == 1
    assert events[6] == {"event": "warm", "id": "a0", "samples_ns": events[6]["samples_ns"], "steady": False}
    assert [e["round"] for e in events if e["event"] == "round"] == [1, 2]


def test_a_worker_imports_the_edgecvx_it_was_started_by() -> None:
    """On a board there is no other; here an installed one would hide that the runner's is not found."""
    assert Path(place()) == Path(edgecvx.__file__).parents[1]


def test_events_are_the_values_of_the_benchmark(tmp_path: Path) -> None:
    """What the device sends is what the host's dataclasses hold, key by key."""
    events = measure(job(tmp_path, {"a0": {}}, end_to_end=True, memory=True, rounds=1, runs=3))
    found = {e["event"]: e for e in events}
    from_json(Fingerprint, {**found["fingerprint"]["fingerprint"], "name": "local"})
    from_json(Conditions, found["before"]["conditions"])
    from_json(Conditions, found["after"]["conditions"])
    from_json(Memory, found["memory"]["memory"])
    model, whole = (from_json(Turn, e["turn"]) for e in events if e["event"] == "turn")
    assert len(model.samples_ns) == len(whole.samples_ns) == 3
    assert model.yardstick_ns
    assert not model.parts_ns
    assert set(whole.parts_ns) == {"decode", "prepare", "infer", "rank"}
    # Nothing between the parts is left out.
    assert tuple(map(sum, zip(*whole.parts_ns.values(), strict=True))) == whole.samples_ns


def test_turns_go_forwards_and_backwards(tmp_path: Path) -> None:
    events = measure(job(tmp_path, {"a": {}, "b": {}, "c": {}}, rounds=3, runs=3))
    assert turns(events) == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]


def test_all_runs_are_spread_over_the_rounds(tmp_path: Path) -> None:
    events = measure(job(tmp_path, {"a0": {}}, rounds=4, runs=6))
    assert [len(e["turn"]["samples_ns"]) for e in events if e["event"] == "turn"] == [1, 2, 1, 2]


def test_a_time_instead_of_a_number_of_runs(tmp_path: Path) -> None:
    events = measure(job(tmp_path, {"a0": {"run": "0.01"}}, rounds=2, runs=None, seconds=0.2))
    for event in (e for e in events if e["event"] == "turn"):
        assert 1 <= len(event["turn"]["samples_ns"]) <= 11


def test_sustained_windows_follow_the_rounds(tmp_path: Path) -> None:
    events = measure(job(tmp_path, {"a": {"run": "0.01"}, "b": {"run": "0.01"}}, rounds=1, sustained_minutes=0.01))
    windows = [e for e in events if e["event"] == "window"]
    assert [w["id"] for w in windows] == ["a", "b"]
    assert windows[0]["turn"]["yardstick_ns"] is None
    assert names(events)[-2:] == ["after", "done"]


def test_after_a_cut_only_the_rest_is_measured(tmp_path: Path) -> None:
    order = job(
        tmp_path,
        {"a": {}, "b": {}},
        rounds=3,
        runs=3,
        first_round=1,
        memory=True,
        skip={"a": ["memory", "sustained"]},
        sustained_minutes=0.005,
    )
    events = measure(order)
    assert turns(events) == ["b", "a", "a", "b"]
    assert [e["id"] for e in events if e["event"] == "memory"] == ["b"]
    assert [e["id"] for e in events if e["event"] == "window"] == ["b"]


# What goes wrong with one artifact ends that artifact.


def test_one_that_dies_or_refuses_is_an_error_and_the_others_go_on(tmp_path: Path) -> None:
    not_to_my_liking = "this model is not to my liking"
    models: dict[str, tuple[dict[str, Any], str]] = {
        "dies opening": (
            {"open": "crash"},
            r"tflite died with SIGSEGV while it was opened \(its last words: the last words\)",
        ),
        "dies later": ({"run": "crash", "good_runs": 6}, "tflite died with SIGSEGV while it was timed"),
        "refuses": ({"open": "refuse"}, f"TFLite cannot open the file: {not_to_my_liking}"),
        "refuses a run": ({"run": "refuse"}, f"the run failed: {not_to_my_liking}"),
        "refuses later": ({"run": "refuse", "good_runs": 6}, f"the run failed: {not_to_my_liking}"),
    }
    events = measure(job(tmp_path, {"first": {}, **{id: how for id, (how, _) in models.items()}, "last": {}}))
    errors = {e["id"]: e["sentence"] for e in events if e["event"] == "error"}
    assert errors.keys() == models.keys()
    for id, (_, sentence) in models.items():
        assert re.match(sentence, errors[id])
    assert [id for id in turns(events) if id not in models] == ["first", "last", "last", "first"]
    assert names(events)[-1] == "done"


def test_one_that_hangs_is_stopped(tmp_path: Path) -> None:
    order = read_order(job(tmp_path, {"a0": {"run": "hang"}}))
    # The fake runtime is found where the worker's parent finds things.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "fake"))
        worker = Worker(cast(Host, Patient()), "tflite", 1)
    request = {"do": "open", "folder": str(tmp_path), "artifact": dataclasses.asdict(order.artifacts[0])}
    with pytest.raises(WorkerError, match=r"^tflite gave no answer for 0 s while it was opened; it was stopped$"):
        worker.ask("it was opened", request, 0.4)
    with pytest.raises(WorkerError, match="was stopped before"):
        worker.ask("it was opened", request, 0.4)


def test_the_next_turn_waits_for_threads_that_still_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(cast(Host, Patient()), "tflite", 1)
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    try:
        for told, expected in (
            ([0, 10_000_000, 20_000_000, 20_500_000], 3),  # a whole processor, twice; then next to nothing
            ([None, None], 1),
            (range(0, 10**9, 10_000_000), 50),  # for ever
        ):
            naps.clear()
            monkeypatch.setattr(crew, "_processor_ns", functools.partial(lambda told, _: next(told), iter(told)))
            worker.rest()
            assert len(naps) == expected
    finally:
        monkeypatch.undo()
        worker.stop()


class Patient:
    """A host that says nothing."""

    def wait(self, descriptor: int, until: float) -> bool:
        return bool(select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0])


def test_what_native_code_prints_is_no_event(tmp_path: Path) -> None:
    """It even prints a line that would pass for one."""
    events = measure(job(tmp_path, {"a0": {"open": "talk", "run": "talk"}}))
    assert names(events).count("done") == 1
    assert len(turns(events)) == 2


def test_a_runtime_that_is_missing_is_named(tmp_path: Path) -> None:
    order = job(tmp_path, {"a": {}, "b": {}})
    events = measure(write_order(tmp_path, [artifact("a"), artifact("b", runtime="nonesuch")]))
    (error,) = [e for e in events if e["event"] == "error"]
    assert "knows no runtime 'nonesuch'" in error["sentence"]
    (tmp_path / "fake" / "tflite_runtime" / "__init__.py").unlink()
    (tmp_path / "fake" / "tflite_runtime" / "interpreter.py").unlink()
    (tmp_path / "fake" / "tflite_runtime").rmdir()
    pytest.importorskip("ai_edge_litert")
    errors = [e["sentence"] for e in measure(order) if e["event"] == "error"]
    assert errors[0] == "tflite-runtime is not installed on this device"


def test_without_pillow_there_is_no_end_to_end_and_the_rest_is_measured(tmp_path: Path) -> None:
    order = job(tmp_path, {"a0": {}}, end_to_end=True)
    (tmp_path / "fake" / "PIL.py").write_text("raise ModuleNotFoundError(\"No module named 'PIL'\", name='PIL')")
    events = measure(order)
    (note,) = [e for e in events if e["event"] == "note"]
    assert note["kind"] == "end_to_end"
    assert note["sentence"].startswith("Pillow is not installed on the device")
    assert len(turns(events)) == 2
    assert not turns(events, "end_to_end")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"logits": None}, "no output that ranks"), ({"preprocess": None}, "nothing is known about how pictures")],
)
def test_why_there_is_no_end_to_end(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    job(tmp_path, {"a0": {}})
    events = measure(write_order(tmp_path, [artifact("a0", **changes)], end_to_end=True))
    assert [sentence in e["sentence"] for e in events if e["event"] == "note"] == [True]


def test_a_damaged_picture_is_told(tmp_path: Path) -> None:
    order = job(tmp_path, {"a0": {}}, end_to_end=True)
    (tmp_path / "pictures" / "1.jpg").write_bytes(b"not a picture")
    assert ["it cannot be read" in e["sentence"] for e in measure(order) if e["event"] == "note"] == [True]


# The lifeline.


def wait_for_all(process: subprocess.Popen[bytes], workers: list[psutil.Process]) -> None:
    """Waits until the runner has ended, and its workers."""
    process.wait()
    wait_for_end(workers)


def started(order: Path, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The workers, once the rounds are under way."""
    until(process, "round")
    workers = psutil.Process(process.pid).children()
    assert len(workers) == len(json.loads(order.read_text(encoding="utf-8"))["artifacts"])
    return workers


def long_job(folder: Path, **changes: Any) -> Path:
    """One that would take minutes."""
    return job(folder, {"a": {"run": "0.01"}, "b": {"run": "0.01"}}, rounds=10_000, runs=10_000, **changes)


def test_when_the_host_hangs_up_nothing_is_left(tmp_path: Path) -> None:
    order = long_job(tmp_path)
    with runner(order) as process:
        workers = started(order, process)
        assert process.stdin is not None
        process.stdin.close()
        wait_for_all(process, workers)
        assert "the host hung up" in errors_of(process)
    assert process.returncode == 1


def test_when_the_host_hangs_up_a_run_that_hangs_is_ended_too(tmp_path: Path) -> None:
    order = job(tmp_path, {"a": {"run": "hang", "good_runs": 1}})
    with runner(order) as process:
        until(process, "opened")
        workers = psutil.Process(process.pid).children()
        assert process.stdin is not None
        process.stdin.close()
        wait_for_all(process, workers)


CLOCK = '''
"""The clock goes ahead by what stands in a file: minutes take no time here, and a busy machine is no silence."""
import os, time
clock, ahead = time.monotonic, os.path.join(os.path.dirname(__file__), "ahead")
time.monotonic = lambda: clock() + float(open(ahead).read())
'''


def test_silence_is_a_cut_and_a_sign_of_life_is_none(tmp_path: Path) -> None:
    order = long_job(tmp_path, lifeline_seconds=PATIENCE, patience_seconds=100 * PATIENCE)
    (tmp_path / "fake" / "sitecustomize.py").write_text(CLOCK)

    def put_ahead(seconds: float) -> None:
        (tmp_path / "new").write_text(str(seconds))
        (tmp_path / "new").replace(tmp_path / "fake" / "ahead")

    put_ahead(0)
    with runner(order) as process:
        workers = started(order, process)
        assert process.stdin is not None
        for step in range(1, 6):
            process.stdin.write(b"\n")
            process.stdin.flush()
            put_ahead(step * PATIENCE / 2)
            while until(process, "turn")["turn"]["started"] < step * PATIENCE / 2:
                pass
        put_ahead(4 * PATIENCE)
        wait_for_all(process, workers)
        assert f"the host has been silent for {PATIENCE:.0f} s" in errors_of(process)
    assert process.returncode == 1


def test_a_host_that_stops_reading_is_noticed() -> None:
    """The pipe runs full, and writing to it must not wait for longer than the lifeline holds."""
    code = (
        "from edgecvx.board.runner.host import Host\n"
        "host = Host(0.5)\nwhile True: host.send('round', filler='-' * 9999)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(edgecvx.__file__).parents[1],
    ) as process:
        assert process.wait() == 1
        assert "HostGone: the host has been silent" in errors_of(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_everything(number: int, tmp_path: Path) -> None:
    order = long_job(tmp_path)
    with runner(order) as process:
        workers = started(order, process)
        assert onboarded.end(process, number) == 1
        wait_for_all(process, workers)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="only Linux ends children with their parent")
def test_workers_die_with_a_coordinator_that_is_killed(tmp_path: Path) -> None:
    order = job(tmp_path, {"a": {"run": "hang", "good_runs": 1}})
    with runner(order) as process:
        until(process, "opened")
        workers = psutil.Process(process.pid).children()
        process.kill()
        wait_for_all(process, workers)


def test_stop_finishes_the_turn_and_ends_in_good_order(tmp_path: Path) -> None:
    order = long_job(tmp_path)
    with runner(order) as process:
        workers = started(order, process)
        assert process.stdin is not None
        process.stdin.write(b"\nstop\n")
        process.stdin.flush()
        until(process, "after")
        assert next_event(process)["event"] == "done"
        wait_for_all(process, workers)
    assert process.returncode == 0


# Its folder.


@pytest.mark.parametrize("marked", [True, False])
def test_only_a_folder_that_was_made_for_a_run_is_removed(marked: bool, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    order = job(folder, {"a0": {}}, remove=True)
    if marked:
        (folder / MARK).touch()
    assert names(measure(order))[-1] == "done"
    assert folder.exists() is not marked


def test_a_folder_is_removed_after_a_cut_too(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    order = long_job(folder, remove=True)
    (folder / MARK).touch()
    with runner(order) as process:
        workers = started(order, process)
        assert process.stdin is not None
        process.stdin.close()
        wait_for_all(process, workers)
    assert not folder.exists()


def test_without_being_told_to_nothing_is_removed(tmp_path: Path) -> None:
    order = job(tmp_path, {"a0": {}})
    (tmp_path / MARK).touch()
    measure(order)
    assert order.exists()


# Orders that make no sense, and devices that lack something.


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "cannot be read"),
        ("[]", "must be an object, not list"),
        ('{"protocol": 9}', f"speaks protocol {PROTOCOL}, the order 9"),
    ],
)
def test_a_wrong_order_is_one_clear_event(content: str, sentence: str, tmp_path: Path) -> None:
    order = job(tmp_path, {"a0": {}})
    order.write_text(content, encoding="utf-8")
    (event,) = measure(order)
    assert event["event"] == "error"
    assert event["id"] is None
    assert sentence in event["sentence"]


def checked(order: Path) -> dict[str, Any]:
    with runner(order, "check") as process:
        assert process.stdout is not None
        found: dict[str, Any] = json.loads(process.stdout.read())
    return found


def test_check_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    order = job(tmp_path, {"a0": {}}, end_to_end=True)
    found = checked(order)
    assert found["ok"] is True
    assert found["missing"] == []
    fake = tmp_path / "fake" / "tflite_runtime"
    (fake / "interpreter.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)", encoding="utf-8")
    found = checked(order)
    assert found["ok"] is False
    assert found["notes"] == ["tflite dies with SIGILL when it is loaded: it was built for another processor"]


def test_check_tells_a_missing_numpy(tmp_path: Path) -> None:
    order = job(tmp_path, {"a0": {}})
    (tmp_path / "fake" / "numpy.py").write_text("raise ModuleNotFoundError(\"No module named 'numpy'\", name='numpy')")
    found = checked(order)
    assert found["ok"] is False
    assert [m["what"] for m in found["missing"]] == ["numpy"]
    assert found["install"].endswith("pip install numpy")


def test_the_fingerprint_by_itself(tmp_path: Path) -> None:
    order = job(tmp_path, {"a0": {}})
    done = subprocess.run(
        [sys.executable, str(order.parent / "edgecvx-runner.pyz"), "fingerprint"],
        capture_output=True,
        check=True,
    )
    found = from_json(Fingerprint, {**json.loads(done.stdout), "name": "local"})
    assert found.emulated is None  # these tests run on a real processor, or the emulated board's own test says so
    assert found.cores


def test_more_than_the_memory_holds_is_said_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much is left is the kernel's word; here, of a kernel that is nearly out of it."""
    order = read_order(job(tmp_path, {"a": {}, "b": {}}))
    measurement = Measurement(order, cast(Host, None))
    measurement._took = {"a": 300_000_000, "b": 1_000_000}
    monkeypatch.setattr(memory, "available", lambda: 200_000_000)
    assert measurement._too_little(order.artifacts[0], 1) == (
        "the device's memory holds 1 of 2 artifacts open side by side: the next takes 300 MB, 200 MB are free; "
        "measure fewer at once"
    )
    assert measurement._too_little(order.artifacts[1], 1) is None
