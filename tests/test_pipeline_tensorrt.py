"""Files for TensorRT through the whole pipeline: each is proved in ONNX Runtime before it is handed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime")

from edgecvx import export
from edgecvx.inspection.artifact import inspect
from edgecvx.targets import TARGETS, get_target


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("femto", {"precision": "fp16"}),
        ("atto", {"task": "features", "precision": "fp16"}),
        ("atto", {"task": "embed"}),
        ("atto", {"batch": 3, "input_kind": "uint8"}),
        ("atto", {"folds": ()}),
        ("convnext_atto", {}),
        ("convnext_atto_ols", {"precision": "fp16"}),
    ],
)
def test_every_kind_of_file_passes_its_check(model: str, options: dict[str, Any], tmp_path: Path) -> None:
    """The check compares with the unfolded network; a file that is off raises."""
    (artifact,) = export(model, target="tensorrt", weights="random", image_size=64, out=tmp_path, **options).artifacts
    assert artifact.path.name.endswith(".tensorrt.onnx")
    check = artifact.manifest.self_check
    assert check.cosine > 0.9999 and "not run in tensorrt" in check.note
    assert inspect(artifact.path).rules_broken == ()


def test_int8_beside_the_file_for_onnxruntime(tmp_path: Path) -> None:
    """One plan, one folder, two files: that of TensorRT has a name of its own."""
    result = export(
        "atto",
        target=["onnx", "tensorrt"],
        weights="demo",
        precision="int8",
        image_size=64,
        calib_samples=32,
        out=tmp_path,
    )
    found = inspect(result.artifacts[1].path)
    assert found.integer_share > 0.95 and found.rules_broken == ()
    quantized = found.manifest.quantized
    assert quantized is not None and found.total_bytes < 0.3 * quantized.fp32_bytes
    assert quantized.cosine is not None and quantized.cosine > 0.99
    assert quantized.scheme["zero points"] == "0"
    assert len({a.path for a in result.artifacts}) == 2


def test_a_jetson_is_a_target(tmp_path: Path) -> None:
    (artifact,) = export("atto", target="jetson-orin-nano", weights="random", image_size=64, out=tmp_path).artifacts
    assert (artifact.manifest.target, artifact.manifest.runtime) == ("jetson-orin-nano", "tensorrt")


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_is_whole(name: str) -> None:
    target = get_target(name)
    assert target.name == name and target.note
    assert target.threads is None or target.threads > 0
