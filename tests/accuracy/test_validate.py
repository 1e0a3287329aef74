"""``validate`` end to end: its figures against an independent computation, planted losses, interruptions and deaths."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgecvx.accuracy import feeding
from edgecvx.accuracy.reference import rebuild
from edgecvx.accuracy.validate import Progress, validate
from edgecvx.data import demo
from edgecvx.errors import CheckpointError, RuntimeFailedError, UsageError
from edgecvx.report.words import compared
from edgecvx.results.accuracy import ArtifactOutcome, Validation, as_json
from edgecvx.runtimes.torch import TorchSession
from edgecvx.spec import IMAGENET_MEAN, IMAGENET_STD, from_json, to_json

Array = NDArray[Any]


def run(exported: Any, cache: Path, **options: Any) -> Validation:
    options = {"data": "demo", "limit": 48, "threads": 1, "checkpoints": [exported.checkpoint], **options}
    return validate(options.pop("artifacts", exported.path), cache_dir=cache, **options)


def logits(exported: Any, count: int) -> tuple[Array, Array]:
    """The reference's and the file's logits for drawn pictures, by the shortest way there is."""
    import onnxruntime
    import torch

    drawn = [np.asarray(demo.picture(i, size=73)[0]) for i in range(count)]  # floor(64 / 0.875)
    cut = np.stack([p[4:68, 4:68] for p in drawn]) / np.float32(255)  # round(4.5) is 4, the even one
    images = ((cut - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        reference = rebuild(exported.manifest, [exported.checkpoint]).module(torch.from_numpy(images.copy())).numpy()
    session = onnxruntime.InferenceSession(str(exported.path))
    answers = [session.run(None, {session.get_inputs()[0].name: image[None]})[0] for image in images]
    return reference, np.concatenate(answers)


def test_the_figures_are_those_of_an_independent_computation(small_classifier: Any, wrap: Any, tmp_path: Path) -> None:
    special = pytest.importorskip("scipy.special")
    draw = np.random.default_rng(0)
    noise = iter(draw.standard_normal((200, 24), np.float32))
    spoilt: list[Array] = []

    def spoil(answer: Array) -> Array:
        spoilt.append(0.3 * next(noise)[None])
        return answer + spoilt[-1]

    wrap(after=spoil)
    (found,) = run(small_classifier, tmp_path).artifacts
    reference, artifact = logits(small_classifier, 48)
    artifact = artifact + np.concatenate(spoilt[-48:])  # the input path was examined before
    truth = np.arange(48) % 24
    right = [logit.argmax(1) == truth for logit in (reference, artifact)]
    assert found.top1 is not None and found.top5 is not None and found.answers is not None
    assert (found.top1.reference.correct, found.top1.artifact.correct) == (right[0].sum(), right[1].sum())
    assert found.top1.lost == (right[0] & ~right[1]).sum() and found.top1.gained == (~right[0] & right[1]).sum()
    in_five = [(np.argsort(-logit, 1)[:, :5] == truth[:, None]).any(1).sum() for logit in (reference, artifact)]
    assert [found.top5.reference.correct, found.top5.artifact.correct] == in_five
    assert found.answers.flips == (reference.argmax(1) != artifact.argmax(1)).sum() > 0
    chances = [special.softmax(logit.astype(np.float64), axis=1) for logit in (reference, artifact)]
    kl = special.rel_entr(*chances).sum(1)
    # Runtimes differ in the last bits of a float; the figures then agree to about five digits.
    assert found.answers.kl_mean == pytest.approx(kl.mean(), rel=1e-4)
    assert found.answers.kl_max == pytest.approx(kl.max(), rel=1e-4)
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(reference, artifact, strict=True)]
    (output,) = found.outputs
    assert (output.cosine_mean, output.cosine_min) == pytest.approx((np.mean(cosines), np.min(cosines)), rel=1e-5)
    decibels = 10 * np.log10((reference**2).sum() / ((artifact - reference) ** 2).sum())
    assert output.sqnr_db == pytest.approx(decibels, rel=1e-4)
    assert output.max_error == pytest.approx(np.abs(artifact - reference).max(), rel=1e-4)
    assert sum(output.cosine_histogram.counts) == sum(found.answers.confidence_histogram.counts) == 48


def test_a_healthy_file_flips_nothing_and_its_report_survives_json(small_classifier: Any, tmp_path: Path) -> None:
    found = run(small_classifier, tmp_path)
    (only,) = found.artifacts
    assert only.answers is not None and only.answers.flips == 0 and only.top1 is not None
    assert only.top1.lost == only.top1.gained == 0 and only.pictures == 48 == found.data.chosen
    assert only.outputs[0].sqnr_db is None or only.outputs[0].sqnr_db > 90
    assert only.verdict.kind == "undecided" and found.exit_code == 1, "48 pictures cannot prove a loss of under 1%"
    text = json.dumps(to_json(found), allow_nan=False)
    assert from_json(Validation, json.loads(text)) == found


@pytest.fixture(scope="session")
def answered(small_classifier: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A flat folder, and a label file that says what the reference says: so that it is right on every picture."""
    folder = tmp_path_factory.mktemp("answered") / "val"
    folder.mkdir()
    reference, _ = logits(small_classifier, 240)
    lines = []
    for index, answer in enumerate(reference.argmax(1)):
        # As wide as the network resizes to, so that the pixels stay what they were.
        Image.fromarray(demo.picture(index, size=73)[0]).save(folder / f"{index:05d}.png")
        lines.append(f"{index:05d}.png {answer}")
    truth = folder.parent / "val.txt"
    truth.write_text("\n".join(lines))
    return folder, truth


def test_a_file_of_the_native_engine_is_validated_as_any_other(native_classifier: Any, tmp_path: Path) -> None:
    (found,) = run(native_classifier, tmp_path).artifacts
    assert found.error is None
    assert (found.identity.runtime, found.identity.target) == ("native", "native")
    assert found.outputs[0].sqnr_db is not None and found.outputs[0].sqnr_db > 12
    # Its body is not trained and its answers are near each other: some change in INT8, a broken file changes most.
    assert found.answers is not None and found.answers.flips < 16


@pytest.mark.parametrize(
    ("every", "rule", "verdict"),
    [
        (10, {}, "fail"),  # ten points, far over 1%
        (120, {}, "undecided"),  # 0.83 points: about what is allowed
        (0, {}, "undecided"),  # nothing lost, but 240 pictures do not prove 1%
        (0, {"max_drop": 2.0}, "pass"),
        (120, {"max_drop": 4.0}, "pass"),
    ],
)
def test_a_planted_loss_is_judged_as_it_deserves(
    every: int, rule: dict[str, float], verdict: str, small_classifier: Any, answered: Any, wrap: Any, tmp_path: Path
) -> None:
    calls = iter(range(-16, 1000))  # the first 16 are the examination of the input path

    def lose(answer: Array) -> Array:
        call = next(calls)
        return -answer if every and call >= 0 and call % every == 0 else answer

    wrap(after=lose)
    found = run(small_classifier, tmp_path, data=answered[0], truth=answered[1], limit=None, **rule)
    (only,) = found.artifacts
    planted = -(-240 // every) if every else 0
    assert only.top1 is not None and only.top1.reference.value == 1.0
    assert (only.top1.lost, only.top1.gained) == (planted, 0)
    assert only.verdict.kind == verdict and found.exit_code == (0 if verdict == "pass" else 1)
    assert len(only.losses) == min(planted, 20) and all(loss.drop > 0 for loss in only.losses)
    assert sum(c.lost for c in only.worst_classes) == planted or planted > 20
    assert only.running[-1].pictures == 240 and only.running[-1].delta == only.top1.delta


def test_a_stopped_run_goes_on_where_it_was_stopped(small_classifier: Any, wrap: Any, tmp_path: Path) -> None:
    opened = wrap()

    def stop(progress: Progress) -> None:
        if progress.done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small_classifier, tmp_path / "a", on_progress=stop)
    resumed = run(small_classifier, tmp_path / "a")
    assert [session.runs for session in opened] == [16 + 16, 16 + 32], "16 to examine, then each picture once"
    assert resumed.artifacts[0].reference is not None and resumed.artifacts[0].reference.from_cache == 16
    fresh = run(small_classifier, tmp_path / "b")
    assert without_reference(resumed) == without_reference(fresh)
    again = run(small_classifier, tmp_path / "a")
    assert len(opened) == 3, "a second identical call opens nothing"
    assert without_reference(again) == without_reference(fresh)


def test_a_larger_limit_keeps_what_a_smaller_one_measured(small_classifier: Any, wrap: Any, tmp_path: Path) -> None:
    opened = wrap()
    run(small_classifier, tmp_path, limit=24)
    run(small_classifier, tmp_path, limit=40)
    assert opened[-1].runs == 16 + 16


def without_reference(found: Validation) -> tuple[ArtifactOutcome, ...]:
    return tuple(dataclasses.replace(a, reference=None) for a in found.artifacts)


def test_ten_artifacts_cost_one_reference_run(
    small_classifier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    original = TorchSession.run

    def counted(self: TorchSession, batch: Any) -> Any:
        batches.append(1)
        return original(self, batch)

    monkeypatch.setattr(TorchSession, "run", counted)
    run(small_classifier, tmp_path, artifacts=[small_classifier.path] * 3, limit=16, truth="none")
    # Two batches for the examination, which feeds it rightly and finds nothing to explain, two to be remembered.
    assert len(batches) == 4
    found = run(small_classifier, tmp_path, limit=16, truth="none")
    assert len(batches) == 4 and found.artifacts[0].reference is not None
    assert found.artifacts[0].reference.from_cache == 16


@pytest.fixture
def crashing_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A runtime that opens any file and dies of a segmentation fault at the first picture."""
    from edgecvx.board import engines
    from edgecvx.runtimes import RUNTIMES

    folder = tmp_path / "crashing"
    folder.mkdir()
    (folder / "crashing_runtime.py").write_text(
        "import os, signal\n"
        "from edgecvx.board.engines.base import Session, tensor\n"
        "TITLE, PACKAGE, OPTIONS = 'Crashing', 'none', {}\n"
        "def version(): return '1'\n"
        "class Runtime:\n"
        "    def __init__(self, options): pass\n"
        "    def open(self, path, threads, name): return Crashing()\n"
        "class Crashing(Session):\n"
        "    inputs = (tensor('image', (1, 3, 64, 64), 'float32'),)\n"
        "    outputs = (tensor('logits', (1, 24), 'float32'),)\n"
        "    def __init__(self): pass\n"
        "    def run(self, batch): os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    (folder / "sitecustomize.py").write_text(
        "import sys, crashing_runtime, edgecvx.runtimes\nfrom edgecvx.board import engines\n"
        "sys.modules['edgecvx.board.engines.crashing'] = crashing_runtime\n"
        "engines.NAMES += ('crashing',)\nedgecvx.runtimes.RUNTIMES['crashing'] = 'none'\n"
    )
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setitem(RUNTIMES, "crashing", "none")
    monkeypatch.setattr(engines, "NAMES", (*engines.NAMES, "crashing"))
    monkeypatch.setitem(sys.modules, "edgecvx.board.engines.crashing", importlib.import_module("crashing_runtime"))
    return "crashing"


@pytest.mark.skipif(not hasattr(signal, "SIGSEGV") or sys.platform == "win32", reason="POSIX signals are absent")
def test_a_runtime_that_dies_is_an_error_of_its_artifact_alone(
    small_classifier: Any, crashing_runtime: str, tmp_path: Path
) -> None:
    dying = changed(small_classifier, tmp_path, {"runtime": crashing_runtime})
    found = run(small_classifier, tmp_path / "cache", artifacts=[dying, small_classifier.path], limit=16)
    first, second = found.artifacts
    assert first.verdict.kind == "error" and "died with SIGSEGV" in (first.error or "")
    assert second.error is None and second.pictures == 16
    assert found.exit_code == 2


def changed(exported: Any, folder: Path, changes: dict[str, Any]) -> Path:
    """A copy of the artifact with some of its manifest changed."""
    folder.mkdir(exist_ok=True)
    path = folder / str(exported.path.name)
    shutil.copy(exported.path, path)
    name = exported.path.name + ".edgecvx.json"
    said = json.loads(exported.path.with_name(name).read_text())
    (folder / name).write_text(json.dumps(said | changes))
    return path


def test_a_damaged_file_is_an_error_of_its_artifact_alone(small_classifier: Any, tmp_path: Path) -> None:
    damaged = changed(small_classifier, tmp_path, {})
    damaged.write_bytes(damaged.read_bytes()[:-1])
    found = run(small_classifier, tmp_path / "cache", artifacts=[damaged, small_classifier.path], limit=8)
    assert "is not the file that was checked" in (found.artifacts[0].error or "")
    assert found.artifacts[1].error is None


def test_a_runtime_of_the_future_is_an_error_of_its_artifact_alone(small_classifier: Any, tmp_path: Path) -> None:
    strange = changed(small_classifier, tmp_path, {"runtime": "holographic"})
    found = run(small_classifier, tmp_path / "cache", artifacts=[strange, small_classifier.path], limit=8)
    assert "unknown runtime 'holographic'" in (found.artifacts[0].error or "")
    assert found.artifacts[0].identity.runtime_version is None and found.artifacts[1].error is None


def test_an_answer_that_is_not_a_number_is_an_error_that_names_the_picture(
    small_classifier: Any, wrap: Any, tmp_path: Path
) -> None:
    calls = iter(range(-16, 1000))
    wrap(after=lambda answer: answer * np.nan if next(calls) == 5 else answer)
    (only,) = run(small_classifier, tmp_path, limit=16).artifacts
    assert only.verdict.kind == "error" and "demo/validation/5" in (only.error or "") and only.top1 is None


def test_a_session_that_fails_late_keeps_what_was_measured(small_classifier: Any, wrap: Any, tmp_path: Path) -> None:
    calls = iter(range(-16, 1000))

    def fail(answer: Array) -> Array:
        if next(calls) == 20:
            raise RuntimeFailedError("the board ran hot")
        return answer

    wrap(after=fail)
    assert run(small_classifier, tmp_path, limit=32).artifacts[0].error == "the board ran hot"
    opened = wrap()
    assert run(small_classifier, tmp_path, limit=32).artifacts[0].pictures == 32
    assert opened[0].runs == 16 + 16, "two batches of eight were kept"


@pytest.mark.parametrize("task", ["features", "embed"])
def test_without_classes_outputs_are_compared(task: str, small_classifier: Any, tmp_path: Path) -> None:
    from edgecvx.pipeline import export

    (written,) = export(small_classifier.checkpoint, target="onnx", task=task, image_size=64, out=tmp_path).artifacts
    found = run(small_classifier, tmp_path / "cache", artifacts=[written.path], limit=8)
    (only,) = found.artifacts
    assert only.verdict.kind == "none" and only.top1 is None and only.answers is None and found.exit_code == 0
    assert [o.name for o in only.outputs] == [o.name for o in written.manifest.outputs]
    assert all(o.cosine_min > 0.999999 for o in only.outputs)
    assert from_json(Validation, json.loads(json.dumps(to_json(found), allow_nan=False))) == found


def test_a_file_of_another_batch_size_and_bytes_as_input(small_classifier: Any, tmp_path: Path) -> None:
    from edgecvx.pipeline import export

    (written,) = export(
        small_classifier.checkpoint, target="onnx", image_size=64, batch=3, input_kind="uint8", out=tmp_path
    ).artifacts
    (only,) = run(small_classifier, tmp_path / "cache", artifacts=[written.path], limit=10, truth="none").artifacts
    assert only.error is None and only.pictures == 10 and only.answers is not None and only.answers.flips == 0


def test_pictures_that_cannot_be_decoded_are_named_and_counted(
    small_classifier: Any, answered: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "val"
    shutil.copytree(answered[0], folder)
    whole = (folder / "00003.png").read_bytes()
    (folder / "00003.png").write_bytes(whole[: len(whole) // 2])  # a sound header, half of the pixels
    (folder / "00004.png").write_bytes(b"")
    (folder / "00005.png").write_text("not a picture")
    shutil.copy(folder / "00006.png", folder / "again.png")
    found = run(small_classifier, tmp_path / "cache", data=folder, limit=None, truth="none")
    assert found.artifacts[0].pictures == found.data.chosen == 237, "what was found and is no picture does not count"
    assert compared(found).startswith("237 pictures of val")
    reasons = {s.name: s.reason for s in found.data.skipped}
    assert set(reasons) >= {"00003.png", "00004.png", "00005.png"} and len(reasons) == 4
    assert "damaged or cut short" in reasons["00003.png"] and reasons["00004.png"] == "the file is empty"
    assert sum(found.data.skipped_reasons.values()) == 4
    (warning,) = found.warnings
    assert warning.startswith("val: 3 entries left out of the validation: '00004.png' (the file is empty), '00005.png'")
    assert "'00003.png' (" in warning and "again.png" not in warning, "a copy is no loss"
    again = run(small_classifier, tmp_path / "cache", data=folder, limit=None, truth="none")
    assert again.data == found.data and again.warnings == found.warnings


def test_a_class_that_cannot_be_read_is_told_before_anything_else(
    small_classifier: Any, answered: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("ape", "bee", "cow")
    for index, name in enumerate((*names, "dog")):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        shutil.copy(answered[0] / f"{index:05d}.png", tmp_path / "zoo" / name / "a.png")
    for name in names:
        (tmp_path / "zoo" / name / "b.png").touch()
    scandir = os.scandir

    def refuse(path: Path) -> object:  # the super-user may read everything, so permissions alone would not show it
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = run(small_classifier, tmp_path / "cache", data=tmp_path / "zoo", limit=None, truth="none")
    (warning,) = found.warnings
    assert warning == (
        "zoo: 4 entries left out of the validation: 'dog' (unreadable folder (Permission denied)), "
        "'ape/b.png' (the file is empty), 'bee/b.png' (the file is empty) and 1 more"
    )


def test_calibration_pictures_are_left_out_by_content(small_classifier: Any, answered: Any, tmp_path: Path) -> None:
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    for index in (1, 2, 3):
        shutil.copy(answered[0] / f"{index:05d}.png", calibration / f"renamed{index}.png")
    found = run(small_classifier, tmp_path / "a", data=answered[0], truth=answered[1], limit=None, exclude=calibration)
    assert found.data.excluded_calibration == 3 and found.artifacts[0].pictures == 237
    one = hashlib.sha256((answered[0] / "00001.png").read_bytes()).hexdigest()
    found = run(small_classifier, tmp_path / "b", data=answered[0], truth="none", limit=None, exclude={one})
    assert found.data.excluded_calibration == 1


def test_without_labels_answers_are_compared_and_nothing_is_judged(
    small_classifier: Any, answered: Any, wrap: Any, tmp_path: Path
) -> None:
    calls = iter(range(-16, 1000))
    wrap(after=lambda answer: -answer if next(calls) == 7 else answer)
    found = run(small_classifier, tmp_path, data=answered[0], limit=32)
    (only,) = found.artifacts
    assert only.verdict.kind == "none" and found.exit_code == 0 and only.top1 is None
    assert only.answers is not None and only.answers.flips == 1
    assert only.losses[0].truth is None and only.losses[0].drop > 0


def test_artifacts_of_other_classes_are_not_thrown_together(small_classifier: Any, tmp_path: Path) -> None:
    said = to_json(small_classifier.manifest.model)
    other = changed(small_classifier, tmp_path, {"model": said | {"labels": None}})
    with pytest.raises(UsageError, match="one by one"):
        run(small_classifier, tmp_path / "cache", artifacts=[other, small_classifier.path])


def test_two_files_of_one_name_are_told_apart(small_classifier: Any, tmp_path: Path) -> None:
    artifacts = [changed(small_classifier, tmp_path / folder, {}) for folder in ("old", "new")]
    name = artifacts[0].name
    told: list[str] = []
    found = run(
        small_classifier,
        tmp_path / "cache",
        artifacts=[*artifacts, artifacts[0]],
        limit=8,
        on_progress=lambda progress: told.append(progress.artifact),
    )
    assert [o.identity.file for o in found.artifacts] == [f"old/{name}", f"new/{name}", f"old/{name}"]
    assert set(told) == {f"old/{name}", f"new/{name}"}


def test_the_reference_needs_the_very_weights(small_classifier: Any, tmp_path: Path) -> None:
    manifest = small_classifier.manifest
    with pytest.raises(CheckpointError, match=r"--checkpoint mine.safetensors"):
        rebuild(manifest)
    save_file = pytest.importorskip("safetensors.torch").save_file
    import support

    save_file(support.network(num_classes=24, seed=1).state_dict(), str(tmp_path / "mine.safetensors"))
    with pytest.raises(CheckpointError, match="no checkpoint given has the SHA-256"):
        rebuild(manifest, [tmp_path / "mine.safetensors"])
    assert rebuild(manifest, [tmp_path / "mine.safetensors", small_classifier.checkpoint]).spec == manifest.model
    (only,) = run(small_classifier, tmp_path, checkpoints=[]).artifacts
    assert only.verdict.kind == "error" and "--checkpoint" in (only.error or "")


def test_a_cache_that_cannot_be_written_costs_the_memory_not_the_run(small_classifier: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = run(small_classifier, tmp_path / "file", limit=8)
    assert found.artifacts[0].pictures == 8
    assert any("cannot be resumed" in warning for warning in found.warnings)


def test_only_a_batch_is_in_memory_at_a_time(
    small_classifier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of pictures, the runtime and the reference are never handed more than a batch."""
    sizes: list[int] = []
    original = feeding.FedArtifact.run

    def counted(self: feeding.FedArtifact, samples: Any, px: Any) -> Any:
        sizes.append(len(px))
        return original(self, samples, px)

    monkeypatch.setattr(feeding.FedArtifact, "run", counted)
    run(small_classifier, tmp_path, limit=40, batch=5)
    assert sizes[0] == 16 and set(sizes[1:]) == {5}


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_handful_of_pictures_is_little_but_no_crash(limit: int, small_classifier: Any, tmp_path: Path) -> None:
    (only,) = run(small_classifier, tmp_path, limit=limit).artifacts
    assert only.pictures == limit and only.verdict.kind == "undecided" and not only.findings


@pytest.mark.parametrize(("options", "said"), [({"batch": 0}, "--batch 0"), ({"limit": 0}, "--limit 0")])
def test_senseless_requests_are_refused(
    options: dict[str, Any], said: str, small_classifier: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        run(small_classifier, tmp_path, **options)


def test_a_checkpoint_that_is_not_there_is_refused_though_nothing_needs_it(
    small_classifier: Any, tmp_path: Path
) -> None:
    both = [small_classifier.checkpoint, tmp_path / "nope.pth"]
    with pytest.raises(UsageError, match=r"--checkpoint .*nope\.pth does not work: there is no such file"):
        run(small_classifier, tmp_path, checkpoints=both, limit=8)


@pytest.mark.parametrize("threads", [2, 3])
def test_side_by_side_gives_the_report_that_one_after_the_other_gives(
    threads: int, small_classifier: Any, tmp_path: Path
) -> None:
    alone = run(small_classifier, tmp_path / "one", threads=1, batch=4)
    together = run(small_classifier, tmp_path / "many", threads=threads, batch=4)
    assert as_json(together) == as_json(alone)


def test_what_runs_ahead_of_a_stop_is_not_kept_and_not_missed(small_classifier: Any, tmp_path: Path) -> None:
    """The rows of the batches that were told are there, whatever was under way when it was stopped."""

    def stop(progress: Progress) -> None:
        if progress.done == 16:
            raise KeyboardInterrupt

    known: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run(small_classifier, tmp_path / "a", threads=3, on_progress=stop)
    resumed = run(small_classifier, tmp_path / "a", threads=3, on_progress=lambda at: known.append(at.known))
    assert max(known) == 16
    assert without_reference(resumed) == without_reference(run(small_classifier, tmp_path / "b"))
