"""What float16 cannot hold is refused by every format in the same sentence, and what it can is not."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from lowerings import canonical
from support import network

from edgecvx.errors import ExportError
from edgecvx.export.base import Lowered, load_attribute
from edgecvx.graph.half import is_added, to_half
from edgecvx.models.convnext import ConvNeXt
from edgecvx.spec import Precision
from edgecvx.targets import get_target

PACKAGES = {
    "onnx": "onnx_ir",
    "openvino": "openvino",
    "tensorrt": "onnx_ir",
    "tflite": "flatbuffers",
    "coreml": "coremltools",
}
"""Every target with a format of its own -> what writing it takes."""
KERNEL = "stages.0.blocks.0.mlp.fc1.weight"
ADVICE = "export this model with --precision fp32"


@pytest.fixture(params=PACKAGES)
def write(request: pytest.FixtureRequest) -> Callable[..., Lowered]:
    """Writes a network in one format; its folds are left out, so that every constant is the checkpoint's own."""
    if importlib.util.find_spec(PACKAGES[request.param]) is None:
        pytest.skip(f"{PACKAGES[request.param]} is not installed")
    target = get_target(request.param)

    def written(module: ConvNeXt, precision: Precision) -> Lowered:
        options = target.options(precision)
        lowered: Lowered = load_attribute(target.format.lower)(canonical(module, folds=()), options)
        return lowered

    return written


def scaled(scale: float, *ends: str) -> ConvNeXt:
    """A network whose parameters of these names are so much larger."""
    module, count = network(), 0
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(ends):
                parameter.mul_(scale)
                count += 1
    assert count
    return module


@pytest.mark.parametrize(
    ("scale", "says"),
    [(1e-9, r"nothing above \d\.\d*e-\d\d, too small for float16"), (1e6, r".*, and float16 ends at 65504")],
    ids=["tiny", "huge"],
)
def test_a_kernel_that_float16_cannot_hold_is_refused(write: Callable[..., Lowered], scale: float, says: str) -> None:
    module = scaled(scale, KERNEL)
    with pytest.raises(ExportError, match=rf"^'{re.escape(KERNEL)}' holds {says}: {ADVICE}$"):
        write(module, Precision.FP16)
    assert write(module, Precision.FP32).files


def test_what_is_added_may_be_as_small_as_it_likes(write: Callable[..., Lowered]) -> None:
    """Biases and GRN's gamma of 1e-9 change nothing, in any arithmetic, and no file is worse without them."""
    assert write(scaled(1e-9, ".bias", ".grn.weight"), Precision.FP16).files


def test_a_scale_that_no_fold_took_is_a_factor(write: Callable[..., Lowered], request: pytest.FixtureRequest) -> None:
    module = scaled(1e-9, ".norm.weight")
    if request.node.callspec.params["write"] == "tflite":  # which rounds kernels and nothing else
        assert write(module, Precision.FP16).files
        return
    with pytest.raises(ExportError, match=rf"norm\.weight' holds nothing above .*: {ADVICE}$"):
        write(module, Precision.FP16)


def test_what_is_added_is_known_from_the_graph() -> None:
    constants = canonical(network(), folds=()).graph.initializers
    added = {name for name, value in constants.items() if is_added(value)}
    assert added == {name for name in constants if name.endswith((".bias", ".gamma"))}
    assert len(added) > 10


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3), np.float32),
        np.zeros(0, np.float32),
        np.array([1.0, 1e-9, 0.0], np.float32),
        np.array([65504.0, -65504.0], np.float32),
        np.array([3e-5, -6.1e-5], np.float32),  # below the smallest normal number, and not by much
    ],
)
def test_what_it_can_hold_is_rounded(array: np.ndarray) -> None:
    """Zeros too, and numbers that are nothing beside the others of their array."""
    half = to_half("x", array)
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, array.astype(np.float16))


def test_the_array_as_a_whole_is_what_counts() -> None:
    few, many = np.full(1000, 2e-8, np.float32), np.float32(1e-4)
    with pytest.raises(ExportError, match=rf"'x' holds nothing above 0\.0001, too small for float16: {ADVICE}"):
        to_half("x", np.append(np.tile(few, 100), many))  # alone they would be little beside it, together they are not
    assert to_half("x", np.append(few[:10], many)).any()
    assert to_half("x", np.append(np.tile(few, 100), many), added=True).any()
