"""Every format tells the same network's ops in the same terms; a board that lacks a format's reader says so."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import support
from safetensors.torch import save_file

from edgecvx.errors import RuntimeUnavailableError
from edgecvx.inspection.artifact import held, inspect
from edgecvx.pipeline import export
from edgecvx.spec import Precision

if TYPE_CHECKING:
    from small_classifier import Exported

TARGETS = ("onnx", "openvino", "tflite", "coreml")


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inspection")
    save_file(support.network().state_dict(), str(folder / "small.safetensors"))
    result = export(folder / "small.safetensors", target=TARGETS, precision=request.param, image_size=64, out=folder)
    return {a.target: a.path for a in result.artifacts}


def test_every_format_counts_the_same_arithmetic(exported: dict[str, Path]) -> None:
    found = {target: inspect(path) for target, path in exported.items()}
    macs = {target: f.macs for target, f in found.items()}
    assert macs["openvino"] == macs["tflite"] == macs["coreml"] > 0  # a depthwise split in three has the same 49 taps
    assert 1.0 <= macs["onnx"] / macs["tflite"] < 1.05  # its file takes means over channels as matrix products
    weights = sum(p.numel() for p in support.network().parameters())
    for target, inspection in found.items():
        constants = sum(group.const_bytes for group in inspection.groups)
        per_weight = 4 if inspection.manifest.precision is Precision.FP32 else 2
        assert 0.9 < constants / (weights * per_weight) < 1.2, target


def test_what_reads_a_format_may_be_missing(exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "edgecvx.export.onnx.reader", raising=False)
    monkeypatch.setitem(sys.modules, "onnx_ir", None)  # as on a board
    with pytest.raises(RuntimeUnavailableError, match=r"onnx_ir, which reads \.onnx files.*edgecvx\[onnx\]"):
        inspect(exported["onnx"])


def test_a_runtime_that_tells_what_it_holds_is_asked(native_classifier: Exported, exported: dict[str, Path]) -> None:
    found = inspect(native_classifier.path)
    memory = held(found)
    assert memory is not None
    # Weights are laid out anew for the kernels, and filled up to their widths.
    assert 0.5 < memory["weights"] / found.manifest.files[0].bytes < 3
    assert memory["inner tensors"] > 0
    assert found.integer_share == pytest.approx(found.manifest.quantized.int8_macs, abs=0.05)  # type: ignore[union-attr]
    assert held(inspect(exported["onnx"])) is None
    model, library = found.manifest.files
    assert (found.network_bytes, found.total_bytes) == (model.bytes, model.bytes + library.bytes)


def test_where_a_file_cannot_be_opened_nothing_is_told_of_its_memory(
    native_classifier: Exported, tmp_path: Path
) -> None:
    """On a machine the engine is not built for, the rest can be looked at all the same."""
    found = inspect(native_classifier.path)
    gone = dataclasses.replace(found, path=tmp_path / "gone.ecvx")
    assert held(gone) is None
