"""A file that meets a class of processors it was not proved on is asked again, once, and remembered."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import support
from proofs import ELSEWHERE, proved_elsewhere
from safetensors.torch import save_file

from edgecvx.board.device.processors import Processor, this_processor
from edgecvx.board.engines import onnxruntime
from edgecvx.data.probe import NAMES, probe_pictures
from edgecvx.errors import ArtifactError
from edgecvx.manifest import Manifest, manifest_path, read_manifest
from edgecvx.pipeline import export
from edgecvx.runtimes import artifact as opening
from edgecvx.runtimes import coreml, open_session, proof
from edgecvx.runtimes.artifact import load
from edgecvx.runtimes.base import run_batches
from edgecvx.runtimes.engine import engine_of
from edgecvx.runtimes.proof import COARSEST, LEAST, NOISE, limit_of, probes_for, question, remedy
from edgecvx.spec import Precision, to_json


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    save_file(support.network().state_dict(), str(folder / "small.safetensors"))
    return export(folder / "small.safetensors", target="onnx", image_size=64, out=folder).artifacts[0].path


@pytest.fixture
def file(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy whose manifest a test may change, and a cache of its own."""
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "cache"))
    for path in (exported, manifest_path(exported)):
        shutil.copy(path, tmp_path)
    return tmp_path / exported.name


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the number of probe pictures each time a file is asked again."""
    found: list[int] = []

    def run(session: Any, pictures: Any) -> Any:
        found.append(len(pictures))
        return run_batches(session, pictures)

    monkeypatch.setattr(proof, "run_batches", run)
    return found


def remembered(file: Path) -> list[Path]:
    return sorted((file.parent / "cache").rglob("*.json"))


def test_what_a_file_computed_is_in_its_manifest(exported: Path) -> None:
    manifest = read_manifest(exported)
    assert manifest.proof.processor == this_processor()
    assert manifest.proof.engine == "onnxruntime"
    (kept,) = manifest.proof.outputs
    with load(exported, isolated=False) as opened:
        logits = run_batches(opened.session, probes_for(manifest))["logits"]
    support.assert_close(np.array(kept.values), logits, 1e-5, why="six digits of the range are kept")
    assert (kept.low, kept.high) == pytest.approx((logits.min(), logits.max()), rel=1e-5)
    assert kept.noise <= manifest.self_check.max_error  # the mean of what it is the largest of


def test_on_the_class_it_was_proved_on_nothing_is_asked(file: Path, asked: list[int]) -> None:
    load(file, isolated=False).close()
    assert (asked, remembered(file)) == ([], [])


def test_on_another_class_it_is_asked_once(file: Path, asked: list[int]) -> None:
    proved_elsewhere(file)
    for _ in range(2):
        load(file, isolated=False).close()
    assert asked == [len(NAMES)]
    (note,) = remembered(file)
    assert json.loads(note.read_text())["here"] == this_processor().kind


def test_what_a_processor_knows_no_class_of_is_asked(
    file: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = Processor(name="A mystery", machine="x86_64", kind=None, instructions=())
    monkeypatch.setattr(proof, "this_processor", lambda: unknown)
    load(file, isolated=False).close()
    assert asked == [len(NAMES)]
    found = question(read_manifest(file)).remembered()
    assert found is not None and found.here == "unknown class"


def test_a_file_that_computes_something_else_is_refused_each_time(
    file: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    proved_elsewhere(file, off=0.2)
    closed = []

    def opened(*arguments: Any, **rest: Any) -> Any:
        session = open_session(*arguments, **rest)
        monkeypatch.setattr(session, "close", lambda: closed.append(True))
        return session

    monkeypatch.setattr(opening, "open_session", opened)
    sentence = (
        rf"^{file.name} computes something else on this processor \({this_processor().kind}\) than where it was proved "
        rf"\({ELSEWHERE.kind}\): output 'logits' is off by 0\.2 of its range, allowed is 0\.0001; try another version"
    )
    for _ in range(2):
        with pytest.raises(ArtifactError, match=sentence):
            load(file, isolated=False)
    assert asked == [len(NAMES)] * 2
    assert closed == [True] * 2
    assert remembered(file) == []


def test_where_nothing_can_be_kept_it_is_asked_each_time(
    file: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    proved_elsewhere(file)
    (file.parent / "no folder").touch()
    monkeypatch.setenv("EDGECVX_CACHE", str(file.parent / "no folder"))
    for _ in range(2):
        load(file, isolated=False).close()
    assert asked == [len(NAMES)] * 2


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff", b"7", b'{"error": "0"}', b'{"error": NaN}', b'{"error": -1}']
)
def test_a_note_that_is_damaged_is_none(file: Path, asked: list[int], content: bytes) -> None:
    proved_elsewhere(file)
    load(file, isolated=False).close()
    (note,) = remembered(file)
    note.write_bytes(content)
    load(file, isolated=False).close()
    assert asked == [len(NAMES)] * 2


def test_a_note_of_answers_that_are_too_far_off_vouches_for_nothing(file: Path, asked: list[int]) -> None:
    proved_elsewhere(file)
    load(file, isolated=False).close()
    (note,) = remembered(file)
    note.write_text(json.dumps({"error": 0.2}))
    load(file, isolated=False).close()
    assert asked == [len(NAMES)] * 2


def another_version(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "version", lambda: "99.0")


def another_processor(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(this_processor(), name="Another of this class")
    monkeypatch.setattr(proof, "this_processor", lambda: other)


def another_proof(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(file)
    changed = dataclasses.replace(manifest.proof, processor=dataclasses.replace(ELSEWHERE, kind="yet another"))
    text = json.dumps(to_json(dataclasses.replace(manifest, proof=changed)))
    manifest_path(file).write_text(text)


@pytest.mark.parametrize("change", [another_version, another_processor, another_proof])
def test_what_is_remembered_is_of_this_processor_this_runtime_and_this_proof(
    file: Path, asked: list[int], change: Callable[[Path, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    proved_elsewhere(file)
    load(file, isolated=False).close()
    change(file, monkeypatch)
    load(file, isolated=False).close()
    assert asked == [len(NAMES)] * 2


def test_a_processor_without_a_name_is_not_recognized(
    file: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    proved_elsewhere(file)
    nameless = dataclasses.replace(this_processor(), name=None)
    monkeypatch.setattr(proof, "this_processor", lambda: nameless)
    for _ in range(2):
        load(file, isolated=False).close()
    assert asked == [len(NAMES)] * 2


def test_options_and_other_runtimes_are_asked_on_any_class_and_never_remembered(file: Path, asked: list[int]) -> None:
    """Behind them may be a GPU, which this processor's name says nothing of."""
    for _ in range(2):
        load(file, isolated=False, options={"provider": "CPUExecutionProvider"}).close()
    assert asked == [len(NAMES)] * 2
    assert remembered(file) == []


# How far it may be off.


def of(manifest: Manifest, precision: Precision, noise: float, limit: float, **changed: str) -> Manifest:
    """A manifest in which only what decides the limit is right."""
    outputs = tuple(dataclasses.replace(output, noise=noise) for output in manifest.proof.outputs)
    changes: dict[str, Any] = {
        **changed,
        "precision": precision,
        "proof": dataclasses.replace(manifest.proof, outputs=outputs),
        "self_check": dataclasses.replace(manifest.self_check, limit=limit),
    }
    made = object.__new__(Manifest)
    for field in dataclasses.fields(Manifest):
        object.__setattr__(made, field.name, changes.get(field.name, getattr(manifest, field.name)))
    return made


@pytest.mark.parametrize(
    ("precision", "noise", "limit"),
    [
        (Precision.FP32, 1e-7, LEAST[Precision.FP32.bits]),
        (Precision.FP16, 5e-4, LEAST[Precision.FP16.bits]),
        (Precision.INT8, 0.0, LEAST[Precision.INT8.bits]),  # a network so small that it is its plan
        (Precision.INT8, 0.004, NOISE[Precision.INT8.scales] * 0.004),
        (Precision.INT8_DYNAMIC, 0.008, NOISE[Precision.INT8_DYNAMIC.scales] * 0.008),
        (Precision.INT8, 0.9, 0.1),  # never more than it may be off from its plan
    ],
)
def test_the_limit_follows_from_what_the_file_was_off_at_its_proof(
    exported: Path, precision: Precision, noise: float, limit: float
) -> None:
    manifest = of(read_manifest(exported), precision, noise, 0.1)
    assert limit_of(manifest, "onnxruntime", {}) == pytest.approx(limit)


def test_another_runtime_is_held_to_what_a_proof_is_held_to(exported: Path) -> None:
    """TensorRT's file, proved in ONNX Runtime; bfloat16, and whatever a GPU takes for fine enough."""
    manifest = of(read_manifest(exported), Precision.FP32, 1e-7, 1e-3)
    assert limit_of(manifest, "tensorrt", {}) == 1e-3
    assert limit_of(manifest, "onnxruntime", {"fallback": "refuse"}) == 1e-3
    assert limit_of(manifest, "onnxruntime", {"provider": "CUDAExecutionProvider"}) == COARSEST


def test_what_stands_in_for_a_runtime_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_of("tflite") == "tflite"
    monkeypatch.setattr(coreml, "ENGINE", "coreml's reference executor")
    assert engine_of("coreml") == "coreml's reference executor"


def test_the_remedy_is_one_that_helps(exported: Path) -> None:
    manifest = read_manifest(exported)
    assert "another target" in remedy(manifest)
    assert remedy(of(manifest, Precision.INT8, 0, 0.1)) == "export it again with this edgecvx, or use fp32"
    alone = of(manifest, Precision.INT8, 0, 0.1, format="native")
    assert remedy(alone) == "export it again with this edgecvx"


def test_the_probe_pictures_are_what_every_manifest_was_written_with() -> None:
    """Answers to them are kept: whoever changes the pictures makes a new version of the manifest."""
    found = hashlib.sha256(probe_pictures(64).tobytes()).hexdigest()
    assert found[:16] == "58ae9025c9367154"
