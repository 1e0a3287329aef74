"""An artifact exported from memory is validated against the module, or a file of its tensors, and against no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from modules_in_memory import TimmConvNeXt
from support import network

import edgecvx
from edgecvx.errors import CheckpointError, UsageError
from edgecvx.pipeline import Exported
from edgecvx.spec import PreprocessSpec

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def model() -> TimmConvNeXt:
    return TimmConvNeXt()


@pytest.fixture(scope="module")
def exported(model: TimmConvNeXt, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    out = tmp_path_factory.mktemp("memory")
    (artifact,) = edgecvx.export(model, target="onnx", out=out, name="flowers").artifacts
    return artifact


def validated(exported: Exported, folder: Path, **options: Any) -> Any:
    (outcome,) = edgecvx.validate(exported.path, limit=4, cache_dir=folder, threads=1, **options).artifacts
    return outcome


def test_a_module_is_exported_under_its_name(exported: Exported) -> None:
    assert exported.path.name == "convnextv2_custom.flowers-64-fp32.onnx"
    weights = exported.manifest.model.weights
    assert (weights.kind, weights.ref, weights.layout) == ("module", "modules_in_memory.TimmConvNeXt", "timm")


def test_the_module_is_its_artifacts_reference(exported: Exported, model: TimmConvNeXt, tmp_path: Path) -> None:
    outcome = validated(exported, tmp_path, reference=model)
    assert outcome.error is None
    assert outcome.pictures == 4
    assert (outcome.answers.same, outcome.answers.flips) == (4, 0)


def test_so_is_a_file_of_its_tensors(exported: Exported, model: TimmConvNeXt, tmp_path: Path) -> None:
    path = tmp_path / "later.pth"
    torch.save({"state_dict": {f"module.{name}": t for name, t in model.state_dict().items()}}, path)
    assert validated(exported, tmp_path, checkpoints=[path]).error is None


def test_another_module_is_not(exported: Exported, model: TimmConvNeXt, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not what convnextv2_custom\.flowers-64-fp32\.onnx was exported from"):
        validated(exported, tmp_path, reference=network(num_classes=3, seed=1))
    path = tmp_path / "other.pth"
    torch.save(network(num_classes=3, seed=1).state_dict(), path)
    assert "no checkpoint given has the SHA-256" in validated(exported, tmp_path, checkpoints=[path]).error


def test_without_either_it_is_told_what_to_give(exported: Exported, tmp_path: Path) -> None:
    error = validated(exported, tmp_path).error
    assert "give validate(…, reference=model)" in error
    assert "checkpoints=[…]" in error


def test_a_module_whose_forward_changed_leaves_no_file(tmp_path: Path) -> None:
    model = TimmConvNeXt()
    model.head.fc.register_forward_hook(lambda module, inputs, output: output + 1)  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match="computes something else"):
        edgecvx.export(model, target="onnx", out=tmp_path / "out", preprocess=PreprocessSpec(size=64))
    assert not (tmp_path / "out").exists()
