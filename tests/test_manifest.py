"""The manifest: what it refuses, and that what is on the disk is either whole or not there."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from proofs import a_proof

from edgecvx.board.proof import SAMPLES
from edgecvx.errors import ArtifactError
from edgecvx.files import entries_of, publish, staged, verify_files, write_atomically
from edgecvx.manifest import (
    SCHEMA_VERSION,
    FileEntry,
    Manifest,
    SelfCheck,
    manifest_path,
    read_manifest,
    without_manifests,
)
from edgecvx.models.variants import VARIANTS
from edgecvx.spec import InputKind, ModelSpec, Precision, PreprocessSpec, Task, TensorSpec, WeightsSource

FILES = {".xml": b"<net/>", ".bin": b"\x00" * 64}


def a_manifest(files: dict[str, bytes] | None = None, stem: str = "m") -> Manifest:
    weights = WeightsSource(kind="random", ref="seed 0", layout="timm", sha256="0" * 64)
    model = ModelSpec(
        arch=VARIANTS["convnextv2_atto"], tag="random", num_classes=10, preprocess=PreprocessSpec(), weights=weights
    )
    outputs = (TensorSpec(name="logits", shape=(1, 10), dtype="float32", layout="NC"),)
    return Manifest(
        model=model,
        task=Task.CLASSIFY,
        target="openvino",
        format="openvino",
        runtime="openvino",
        precision=Precision.FP32,
        input_kind=InputKind.FLOAT,
        input=TensorSpec(name="image", shape=(1, 3, 224, 224), dtype="float32", layout="NCHW"),
        outputs=outputs,
        folds=("layernorm",),
        passes=(),
        kept_float={},
        tools={"edgecvx": "0"},
        self_check=SelfCheck(runtime="openvino 0", probes=5, max_error=1e-6, limit=1e-3, cosine=1.0),
        proof=a_proof(outputs, "openvino"),
        files=entries_of(stem, FILES if files is None else files),
    )


def put(folder: Path, files: dict[str, bytes] | None = None, stem: str = "m", suffix: str = ".xml") -> Path:
    files = FILES if files is None else files
    with staged(folder, stem, files) as temporary:
        return publish(temporary, folder, a_manifest(files, stem), stem + suffix)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    artifact = put(tmp_path)
    manifest = read_manifest(artifact)
    assert manifest == a_manifest()
    assert read_manifest(manifest_path(artifact)) == manifest  # either name will do
    verify_files(manifest, tmp_path)


def test_the_same_artifact_gives_the_same_bytes(tmp_path: Path) -> None:
    first = manifest_path(put(tmp_path / "a")).read_bytes()
    assert manifest_path(put(tmp_path / "b")).read_bytes() == first


def test_one_flipped_byte_is_found(tmp_path: Path) -> None:
    artifact = put(tmp_path)
    weights = tmp_path / "m.bin"
    content = bytearray(weights.read_bytes())
    content[17] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"m\.bin has another SHA-256"):
        verify_files(read_manifest(artifact), tmp_path)


def test_a_cut_and_a_missing_file_are_found(tmp_path: Path) -> None:
    artifact = put(tmp_path)
    (tmp_path / "m.bin").write_bytes(b"\x00" * 63)
    with pytest.raises(ArtifactError, match="has 63 bytes instead of 64"):
        verify_files(read_manifest(artifact), tmp_path)
    (tmp_path / "m.bin").unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        verify_files(read_manifest(artifact), tmp_path)


def test_a_link_is_not_taken_for_the_file(tmp_path: Path) -> None:
    artifact = put(tmp_path / "out")
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "out" / "m.bin").rename(elsewhere)
    (tmp_path / "out" / "m.bin").symlink_to(elsewhere)
    with pytest.raises(ArtifactError, match=r"m\.bin is a link"):
        verify_files(read_manifest(artifact), tmp_path / "out")


@pytest.mark.parametrize("path", ["../m.bin", "/etc/passwd", "a/../../m.bin", "", "a\\..\\b"])
def test_no_path_leaves_the_folder(path: str) -> None:
    with pytest.raises(ArtifactError, match="outside its folder"):
        FileEntry(path=path, sha256="0" * 64, bytes=1)


def test_a_manifest_beside_its_artifact_is_no_second_one(tmp_path: Path) -> None:
    """``edgecvx validate build/*`` names both; a manifest alone stands for its artifact, and what is given twice is."""
    artifact, other = put(tmp_path), put(tmp_path, stem="n")
    assert without_manifests([artifact, manifest_path(artifact), manifest_path(other)]) == [
        artifact,
        manifest_path(other),
    ]
    assert without_manifests([str(artifact), artifact]) == [artifact, artifact]


def test_a_name_that_is_nothing_but_a_manifests_ending_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no file"):
        read_manifest(tmp_path / ".edgecvx.json")


def test_another_version_is_named(tmp_path: Path) -> None:
    artifact = put(tmp_path)
    path = manifest_path(artifact)
    path.write_text(path.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99'))
    with pytest.raises(ArtifactError, match="manifest version 99, this edgecvx reads version 2"):
        read_manifest(artifact)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: d | {"colour": "blue"}, "unknown colour"),
        (lambda d: {k: v for k, v in d.items() if k != "files"}, "missing files"),
        (lambda d: d | {"precision": "int3"}, "precision: 'int3' is not one of"),
        (lambda d: d | {"files": [d["files"][0] | {"path": "../x"}]}, "outside its folder"),
        (lambda d: d | {"files": []}, "names no file"),
        (lambda d: d | {"outputs": []}, "no output"),
        (lambda d: d | {"model": d["model"] | {"num_classes": 3}}, r"3 classes and an output of shape \[1, 10\]"),
    ],
)
def test_a_changed_manifest_is_refused(tmp_path: Path, damage: object, says: str) -> None:
    artifact = put(tmp_path)
    path = manifest_path(artifact)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))  # type: ignore[operator]
    with pytest.raises(ArtifactError, match=says):
        read_manifest(artifact)


def expected(**changes: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Changes what a manifest says its first output was at the proof."""

    def damage(data: dict[str, Any]) -> dict[str, Any]:
        first, *rest = data["proof"]["outputs"]
        return data | {"proof": data["proof"] | {"outputs": [first | changes, *rest]}}

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: {k: v for k, v in d.items() if k != "proof"}, "missing proof"),
        (lambda d: d | {"proof": d["proof"] | {"outputs": []}}, "proved with other outputs"),
        (lambda d: d | {"proof": d["proof"] | {"outputs": d["proof"]["outputs"] * 2}}, "proved with other outputs"),
        (lambda d: d | {"proof": d["proof"] | {"processor": "AVX2"}}, r"proof\.processor: expected an object"),
        (lambda d: d | {"proof": d["proof"] | {"engine": 3}}, r"proof\.engine: expected str"),
        (expected(name="answers"), "proved with other outputs"),
        (expected(values=[]), "other numbers of values of 'logits' than 10 for each of 5 pictures"),
        (expected(values=[[0.0] * 10] * 6), "other numbers of values"),
        (expected(values=[[0.0] * 10] * 4 + [[0.0] * 11]), "other numbers of values"),
        (expected(values=[["0"] * 10] * 5), "expected float"),
        (expected(values=[[math.nan] * 10] * 5), "numbers for 'logits' that no file computes"),
        (expected(low=math.inf), "numbers for 'logits' that no file computes"),
        (expected(low=1.0, high=-1.0), "numbers for 'logits' that no file computes"),
        (expected(noise=-0.1), "numbers for 'logits' that no file computes"),
        (expected(high=10**400), "too large"),
    ],
)
def test_a_proof_that_no_export_writes_is_refused(
    tmp_path: Path, damage: Callable[[dict[str, Any]], dict[str, Any]], says: str
) -> None:
    artifact = put(tmp_path)
    path = manifest_path(artifact)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(ArtifactError, match=says):
        read_manifest(artifact)


def test_of_a_large_output_a_few_values_are_kept(tmp_path: Path) -> None:
    """A manifest is for people, too: a stage's map has a hundred thousand values a picture."""
    maps = (TensorSpec(name="feature0", shape=(1, 40, 56, 56), dtype="float32", layout="NCHW"),)
    described = a_manifest()
    weights = dataclasses.replace(described, task=Task.FEATURES, outputs=maps, proof=a_proof(maps, "openvino"))
    assert sum(map(len, weights.proof.outputs[0].values)) == 5 * SAMPLES
    with pytest.raises(ArtifactError, match="than 27 for each of 5 pictures"):
        dataclasses.replace(weights, outputs=(dataclasses.replace(maps[0], shape=(1, 3, 3, 3)),))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    artifact = put(tmp_path)
    manifest_path(artifact).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"not valid JSON|manifest version None"):
        read_manifest(artifact)


def test_a_manifest_vouches_for_no_other_file(tmp_path: Path) -> None:
    """Both files lie there, and the hashes are right: of the other one."""
    artifact = put(tmp_path)
    (tmp_path / "copy.xml").write_bytes(b"<net>other</net>")
    (tmp_path / "copy.xml.edgecvx.json").write_bytes(manifest_path(artifact).read_bytes())
    with pytest.raises(ArtifactError, match=r"describes m\.xml, not copy\.xml"):
        read_manifest(tmp_path / "copy.xml")


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_folder_without_a_name_is_no_artifact(path: str) -> None:
    with pytest.raises(ArtifactError, match="is a folder"):
        read_manifest(Path(path))


def test_an_artifact_without_manifest_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"TFL3")
    with pytest.raises(ArtifactError, match="has no manifest"):
        read_manifest(tmp_path / "x.tflite")
    with pytest.raises(ArtifactError, match="there is no file"):
        read_manifest(tmp_path / "y.tflite")


def test_a_package_folder_replaces_an_older_one(tmp_path: Path) -> None:
    def package(content: bytes) -> dict[str, bytes]:
        return {".mlpackage/Manifest.json": b"{}", ".mlpackage/Data/model.mlmodel": content}

    put(tmp_path, package(b"old") | {".mlpackage/Data/extra": b"gone"}, suffix=".mlpackage")
    artifact = put(tmp_path, package(b"new"), suffix=".mlpackage")
    assert (artifact / "Data" / "model.mlmodel").read_bytes() == b"new"
    assert not (artifact / "Data" / "extra").exists()
    verify_files(read_manifest(artifact), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.mlpackage", "m.mlpackage.edgecvx.json"]


def test_a_failure_between_staging_and_publishing_leaves_what_was_there(tmp_path: Path) -> None:
    artifact = put(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(RuntimeError, match="the self-check failed"), staged(tmp_path, "m", {".xml": b"<new/>"}):
        raise RuntimeError("the self-check failed")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    verify_files(read_manifest(artifact), tmp_path)


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    program = (
        "import os, sys, signal; from pathlib import Path; from edgecvx.files import staged\n"
        "with staged(Path(sys.argv[1]), 'm', {'.xml': b'x'}): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1  # half-written, but under no name anybody reads
    put(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.bin", "m.xml", "m.xml.edgecvx.json"]


def test_the_folder_of_a_run_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    with staged(tmp_path, "other", {".xml": b"x"}) as other:
        put(tmp_path)
        assert (other / "other.xml").is_file()
    assert not other.exists()


def test_one_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.json"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_manifest_holds_no_path_of_the_machine_that_wrote_it(tmp_path: Path) -> None:
    text = manifest_path(put(tmp_path)).read_text()
    assert str(tmp_path) not in text
    assert dataclasses.replace(a_manifest(), target="x").target in text.replace("openvino", "x")


def test_a_report_can_be_read_by_whom_other_files_can(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_atomically(tmp_path / "report.html", b"<html>")
    assert (tmp_path / "report.html").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "report.html"]


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
def test_exports_into_one_folder_publish_one_after_the_other(tmp_path: Path) -> None:
    """A package is replaced in two renames; whoever comes between them finds nothing, or what is not empty."""
    files = {".mlpackage/Manifest.json": b"{}", ".mlpackage/weights.bin": b"0" * 64}

    def publish_often() -> None:
        for _ in range(100):
            put(tmp_path, files, suffix=".mlpackage")

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(publish_often) for _ in range(3)]:
            done.result()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.mlpackage", "m.mlpackage.edgecvx.json"]
