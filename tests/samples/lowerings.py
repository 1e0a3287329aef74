"""What the tests of the lowerings share: the networks that between them use every rule, and the way to run a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from opening import OpenSession
from support import network, relative_error

from edgecvx.export.base import Lowered
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold, fold_uint8_input
from edgecvx.models.convnext import ConvNeXt, outputs_of
from edgecvx.spec import InputKind, PreprocessSpec, Task

NETWORKS: dict[str, dict[str, Any]] = {
    "v2": {},
    "v1": {"grn": False},
    "v1 overlapping stem, tanh GELU": {"grn": False, "stem": "overlap", "act": "gelu_tanh"},
    "v2 tiered stem, SiLU, other kernels": {"stem": "overlap_tiered", "act": "silu", "kernel_sizes": (3, 5, 7, 9)},
}

FP32_CLOSE = 1e-5  # float32 has 6e-8; sums of some hundred terms in another order, through five blocks, stay under 3e-6
FP16_CLOSE = 5e-3  # float16 has 5e-4; roundings of weights (and activations) through five blocks were seen up to 2e-3


def canonical(
    module: ConvNeXt,
    *,
    task: Task = Task.CLASSIFY,
    batch: int = 1,
    folds: Sequence[str] | None = None,
    preprocess: PreprocessSpec | None = None,
    metadata: dict[str, str] | None = None,
    size: int = 64,
) -> ir.Model:
    """The canonical graph of a network; with ``preprocess`` it takes bytes."""
    folded = fold(module, folds, task=task).module
    kind = InputKind.FLOAT
    if preprocess is not None:
        folded, kind = fold_uint8_input(folded, preprocess), InputKind.UINT8
    return build_canonical(folded, task=task, image_size=size, batch=batch, input_kind=kind, metadata=metadata)


def reference(module: ConvNeXt, x: NDArray[Any], task: Task = Task.CLASSIFY) -> list[NDArray[Any]]:
    """What unfolded FP32 PyTorch returns."""
    with torch.inference_mode():
        return [y.numpy() for y in outputs_of(module, torch.from_numpy(x), task.value)]


def written(lowered: Lowered, folder: Path) -> Path:
    """Writes an artifact's files; the path of the one a runtime opens."""
    for suffix, content in lowered.files.items():
        (folder / f"model{suffix}").write_bytes(content)
    return folder / f"model{next(iter(lowered.files))}"


def run(lowered: Lowered, x: NDArray[Any], folder: Path, open_session: OpenSession) -> dict[str, NDArray[Any]]:
    """Runs an artifact; its session must describe it as the lowering did."""
    session = open_session(written(lowered, folder), threads=1)
    assert (session.inputs, session.outputs) == (lowered.inputs, lowered.outputs)
    return session.run(x)


def worst(actual: Mapping[str, NDArray[Any]], expected: Sequence[NDArray[Any]]) -> float:
    """The largest relative error over the outputs."""
    return max(relative_error(a, e) for a, e in zip(actual.values(), expected, strict=True))


def overflowing(module: ConvNeXt | None = None) -> ConvNeXt:
    """A V2 network whose GRN sees activations of some thousands: their squares are far beyond float16's 65504."""
    module = network() if module is None else module
    with torch.no_grad():
        for name, p in module.named_parameters():
            if ".fc1." in name:
                p.mul_(1000.0)
            if ".fc2.weight" in name:
                p.div_(1000.0)  # so that nothing but GRN's statistics is large
    return module


def nearly_zero(size: int = 64) -> dict[str, NDArray[np.float32]]:
    """Pictures that leave next to nothing to normalize."""
    noise = np.random.default_rng(0).standard_normal((1, 3, size, size), dtype=np.float32)
    return {"zeros": np.zeros_like(noise), "tiny": 1e-7 * noise, "huge": 1e3 * noise}


def in_declared_types(model: onnx.ModelProto, x: NDArray[Any]) -> NDArray[Any]:
    """Logits of ONNX's own evaluator, which computes each operation in numpy in the type the file declares.

    ONNX Runtime's CPU provider computes float16 operations in float32; a GPU does not.
    """
    with np.errstate(all="ignore"):
        outputs = ReferenceEvaluator(model, new_ops=[LayerNormalization]).run(None, {"image": x})
    return np.asarray(cast(list[Any], outputs)[0])


class LayerNormalization(OpRun):
    """As the standard has it, for ``stash_type`` 1: normalized in float32. The evaluator's own ignores that."""

    op_domain = ""

    def _run(  # type: ignore[no-untyped-def]
        self, x, scale, bias=None, axis=None, epsilon=None, stash_type=None
    ):
        assert (axis, stash_type) == (-1, 1)
        y = x.astype(np.float32)
        y = y - y.mean(-1, keepdims=True)
        y = (y / np.sqrt(np.square(y).mean(-1, keepdims=True) + epsilon)).astype(x.dtype)
        return (y * scale if bias is None else y * scale + bias,)
