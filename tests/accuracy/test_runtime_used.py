"""A file that runs only on its device is measured in another runtime, which is told."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from pretended_nvidia import Cuda, TensorRT, pretend

pytest.importorskip("onnxruntime")

from edgecvx import export, validate
from edgecvx.accuracy.layers.compare import per_layer
from edgecvx.accuracy.runtime_used import note_on_runtime, runtime_used
from edgecvx.manifest import Manifest
from edgecvx.report.forms.markdown import validation_markdown


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    out = tmp_path_factory.mktemp("stand-in")
    (written,) = export("atto", target="tensorrt", weights="demo", image_size=64, out=out).artifacts
    return written.path, written.manifest


@pytest.fixture(autouse=True)
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)


def test_validate_says_where_it_ran(artifact: tuple[Path, Manifest], tmp_path: Path) -> None:
    path, _ = artifact
    found = validate(path, data="demo", limit=24, threads=1, cache_dir=tmp_path)
    (outcome,) = found.artifacts
    assert outcome.error is None and outcome.pictures == 24
    assert outcome.identity.runtime == "onnxruntime" and outcome.identity.target == "tensorrt"
    assert any("was run in onnxruntime, not in tensorrt" in told for told in found.warnings)
    assert "not in tensorrt" in validation_markdown(found)


def test_the_own_runtime_comes_first(artifact: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    _, manifest = artifact
    assert runtime_used(manifest) == "onnxruntime"
    pretend(monkeypatch, trt=TensorRT(), cuda=Cuda())
    assert runtime_used(manifest) == "tensorrt" and note_on_runtime(manifest, "model") is None


def test_nothing_stands_in_for_the_other_runtimes(artifact: tuple[Path, Manifest]) -> None:
    _, manifest = artifact
    for target, runtime in (("tflite", "tflite"), ("onnx", "onnxruntime"), ("gone", "tensorrt")):
        other = dataclasses.replace(manifest, target=target, runtime=runtime)
        assert runtime_used(other) == runtime and note_on_runtime(other, "model") is None


def test_layers_are_looked_at_where_the_file_runs(artifact: tuple[Path, Manifest]) -> None:
    path, _ = artifact
    found = per_layer(path, pictures=2)
    assert found.runtime == "onnxruntime"
    assert min(layer.cosine for layer in found.layers) > 0.999999
