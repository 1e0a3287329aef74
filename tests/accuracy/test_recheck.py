"""``validate`` and ``bench`` where a file was proved on another class of processors: asked again, told, or refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import scripted
from proofs import ELSEWHERE, proved_elsewhere

from edgecvx.accuracy import reference
from edgecvx.accuracy.validate import validate
from edgecvx.board.device.processors import this_processor
from edgecvx.cli import main as cli
from edgecvx.data.probe import NAMES
from edgecvx.errors import DeviceError
from edgecvx.latency.bench import as_json, benchmark, read_json
from edgecvx.latency.devices.collect import Collector
from edgecvx.manifest import manifest_path, read_manifest
from edgecvx.report.forms.markdown import validation_markdown
from edgecvx.report.forms.page import page
from edgecvx.report.forms.terminal import benchmark_terminal
from edgecvx.report.join import join
from edgecvx.results import accuracy as values
from edgecvx.results.accuracy import Validation
from edgecvx.runtimes import proof
from edgecvx.runtimes.proof import Recheck
from edgecvx.spec import to_json

if TYPE_CHECKING:
    from small_classifier import Exported

HERE = this_processor().kind


@pytest.fixture
def copied(small_classifier: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """The small classifier with a manifest that a test may change, and with a cache of its own."""
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "cache"))
    for path in (small_classifier.path, manifest_path(small_classifier.path)):
        shutil.copy(path, tmp_path)
    return dataclasses.replace(small_classifier, path=tmp_path / small_classifier.path.name)


def validated(exported: Exported, *more: Path, **options: Any) -> Validation:
    paths = [exported.path, *more]
    return validate(paths, data="demo", limit=8, threads=1, checkpoints=[exported.checkpoint], **options)


# validate


def test_a_validation_tells_that_the_file_was_proved_elsewhere(copied: Exported) -> None:
    proved_elsewhere(copied.path)
    found = validated(copied)
    (outcome,) = found.artifacts
    told = outcome.recheck
    assert told is not None and told.error is not None and told.error < 1e-5
    assert (told.proved, told.here) == (ELSEWHERE.kind, HERE)
    assert values.read_json(values.as_json(found)) == found
    for text in (validation_markdown(found), page(join([found], []))):
        assert f"Proved on {ELSEWHERE.kind}; checked here ({HERE})" in text.replace("\\", "")  # as Markdown writes it


def test_on_the_class_of_its_proof_there_is_nothing_to_tell(copied: Exported) -> None:
    (outcome,) = validated(copied).artifacts
    assert outcome.recheck is None


def test_a_file_that_computes_something_else_has_an_error_and_stops_no_other(
    copied: Exported, small_classifier: Exported
) -> None:
    proved_elsewhere(copied.path, off=0.2)
    found = validated(copied, small_classifier.path)
    wrong, right = found.artifacts
    assert wrong.verdict.kind == "error" and found.exit_code == 2
    assert wrong.error is not None and "than where it was proved" in wrong.error and "off by 0.2 " in wrong.error
    assert right.error is None and right.pictures == 8


def test_a_validation_that_is_known_opens_nothing_and_tells_it_all_the_same(copied: Exported, wrap: Any) -> None:
    proved_elsewhere(copied.path)
    first = validated(copied)
    opened = wrap()
    second = validated(copied)
    assert opened == [] and second.artifacts[0].recheck == first.artifacts[0].recheck


def test_where_the_answer_cannot_be_kept_the_file_is_asked_each_time(
    copied: Exported, tmp_path: Path, wrap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are kept, in a folder that can be written: only the probe pictures are run again."""
    (tmp_path / "no folder").touch()
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "no folder"))
    proved_elsewhere(copied.path)
    validated(copied, cache_dir=tmp_path / "rows")
    opened = wrap()
    (outcome,) = validated(copied, cache_dir=tmp_path / "rows").artifacts
    assert outcome.recheck is not None
    (session,) = opened
    assert session.runs >= len(NAMES)


def test_the_answers_of_another_class_of_processors_are_not_taken_for_this_ones(
    copied: Exported, wrap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home that two machines share, and the validation's memory with it."""
    opened = wrap()
    validated(copied)
    validated(copied)
    assert len(opened) == 1
    monkeypatch.setattr(reference, "this_processor", lambda: ELSEWHERE)
    validated(copied)
    assert len(opened) == 2


# bench


def benched(*paths: Path, **options: Any) -> Any:
    quick = {"runs": 2, "rounds": 1, "end_to_end": False, "memory": False, "threads": (1,)}
    return benchmark(list(paths), **{**quick, **options})


def test_a_benchmark_asks_on_the_device_and_tells(copied: Exported) -> None:
    proved_elsewhere(copied.path)
    found = benched(copied.path)
    (measured,) = found.devices[0].measured
    assert measured.error is None and measured.model_summary is not None
    told = measured.recheck
    assert told is not None and told.error is not None and told.error < 1e-5
    assert (told.proved, told.here) == (ELSEWHERE.kind, HERE)
    assert read_json(as_json(found)) == found
    assert f"proved on {ELSEWHERE.kind}; checked here ({HERE})" in shown(found)
    assert f"proved on {ELSEWHERE.kind}; checked here" in page(join([], [found]))


def test_a_benchmark_on_the_class_of_the_proof_tells_nothing(copied: Exported) -> None:
    found = benched(copied.path)
    assert found.devices[0].measured[0].recheck is None
    assert "proved on" not in shown(found)


def test_a_benchmark_leaves_nothing_behind_that_remembers(copied: Exported, tmp_path: Path) -> None:
    proved_elsewhere(copied.path)
    benched(copied.path)
    assert not (tmp_path / "cache").exists()


def test_a_file_that_computes_something_else_is_not_timed(copied: Exported, small_classifier: Exported) -> None:
    proved_elsewhere(copied.path, off=0.2)
    found = benched(copied.path, small_classifier.path)
    wrong, right = found.devices[0].measured
    assert wrong.model == () and right.model != ()
    assert wrong.error == (
        f"it computes something else on this processor ({HERE}) than where it was proved ({ELSEWHERE.kind}): output "
        "'logits' is off by 0.2 of its range, allowed is 0.0001; "
        "try another version of its runtime, or export it for another target"
    )
    assert found.exit_code == 2


def test_options_of_a_runtime_are_asked_on_any_class(copied: Exported) -> None:
    found = benched(copied.path, runtimes=["onnxruntime:provider=CPUExecutionProvider"])
    told = found.devices[0].measured[0].recheck
    assert told is not None and told.here == f"{HERE} in onnxruntime with provider=CPUExecutionProvider"
    assert told.proved == f"{HERE} in onnxruntime"


def shown(found: Any) -> str:
    from rich.console import Console

    console = Console(width=400)
    with console.capture() as capture:
        console.print(benchmark_terminal(found))
    return capture.get()


# What a device tells of it.


def collector(exported: Exported) -> Collector:
    """Of a job whose file was proved elsewhere."""
    proved = {"proof": to_json(proved_elsewhere(exported.path).proof), "limit": 0.01, "probes": "x", "remedy": "-"}
    job = scripted.job("a0")
    (artifact,) = job.order["artifacts"]
    return Collector(
        job.with_order(artifacts=[{**artifact, "proved": proved}]), [scripted.requested("a0")], device="ssh://board"
    )


def opened(recheck: object) -> dict[str, Any]:
    (event,) = [e for e in scripted.events(scripted.job("a0").order) if e["event"] == "opened"]
    return {**event, "recheck": recheck}


def test_what_a_device_says_stands_beside_what_it_was_held_to(copied: Exported) -> None:
    gathered = collector(copied)
    gathered.add(opened({"here": "NEON", "error": 0.004}))
    (measured,) = gathered.result("cut").measured
    there = f"{ELSEWHERE.kind} in onnxruntime"  # the scripted request is TFLite's
    assert measured.recheck == Recheck(proved=there, here="NEON", error=0.004, limit=0.01)


@pytest.mark.parametrize(
    "recheck",
    [
        "NEON",
        {"here": "NEON"},
        {"here": "NEON", "error": "0"},
        {"here": 3, "error": 0.0},
        {"here": "NEON", "error": 0.02},
        {"here": "NEON", "error": -0.1},
        {"here": "NEON", "error": 0.0, "more": 1},
    ],
)
def test_what_no_runner_says_is_refused(copied: Exported, recheck: object) -> None:
    with pytest.raises(DeviceError, match="strange event 'opened'"):
        collector(copied).add(opened(recheck))


def test_a_device_that_takes_no_pictures_is_told_as_such() -> None:
    told = Recheck(proved="AMX", here="dotprod", error=None, limit=0.01)
    assert told.sentence == "proved on AMX; here (dotprod) nothing takes pictures, so it was not checked again"


# The command.


@pytest.mark.parametrize("command", ["predict", "validate", "bench"])
def test_each_command_ends_with_2_and_says_why(
    command: str, copied: Exported, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    proved_elsewhere(copied.path, off=0.2)
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "red.png")
    words = {
        "predict": ["predict", str(copied.path), str(tmp_path / "red.png")],
        "validate": ["validate", str(copied.path), "--limit", "4", "--checkpoint", str(copied.checkpoint)],
        "bench": ["bench", str(copied.path), "--runs", "2", "--rounds", "1", "--no-memory", "--no-end-to-end"],
    }[command]
    assert cli.run(words) == 2
    said = capfd.readouterr()
    assert "computes something else on this processor" in " ".join((said.err + said.out).split())


def test_nothing_of_this_is_asked_twice_by_one_machine(copied: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """``validate`` asks, and ``load`` after it, which ``predict`` and the live page use, knows the answer."""
    import edgecvx

    proved_elsewhere(copied.path)
    validated(copied)
    monkeypatch.setattr(proof, "run_batches", lambda *_: pytest.fail("it was asked again"))
    edgecvx.load(copied.path, isolated=False).close()
    assert json.loads(next((copied.path.parent / "cache" / "proved").iterdir()).read_text())["here"] == HERE
    assert read_manifest(copied.path).proof.processor == ELSEWHERE
