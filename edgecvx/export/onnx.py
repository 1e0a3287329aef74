"""ONNX files: the canonical graph in standard operations only, in the form ONNX Runtime runs fastest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
from google.protobuf.message import DecodeError

from edgecvx.errors import ArtifactError
from edgecvx.export.lowered import Lowered
from edgecvx.export.onnx_rows import RowForm
from edgecvx.export.opinfo import OpInfo
from edgecvx.export.rewrite import is_constant, name_of, shape_of, spec_of
from edgecvx.spec import Precision

KEPT_FLOAT = {
    "LayerNormalization": "mean and deviation: squares of activations overflow float16, and epsilon 1e-6 is zero in it",
    "GRN statistics": "squares of activations overflow float16, and the epsilon, around 1e-8, is zero in it",
    "ReduceMean": "the pooled sum over a picture overflows float16",
}
"""What an FP16 file computes in float32, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions:
    """How to write an ONNX file."""

    precision: Precision = Precision.FP32
    taps: tuple[str, ...] = ()
    """Canonical values to return too, after the task's outputs."""


def lower(graph: ir.Model, options: OnnxOptions) -> Lowered:
    """Writes a canonical graph as an ONNX file.

    The file has standard operations only (opset 20: ``Gelu``), static shapes, no functions, and the canonical graph's
    metadata. Input and outputs are float32 (or uint8) in FP16 files too.

    Raises:
        ExportError: A weight does not fit into float16.
        UsageError: A tap names no value of the graph.
    """
    half = options.precision is Precision.FP16
    form = RowForm(graph, half=half, taps=options.taps)
    return Lowered(
        files={".onnx": ir.to_proto(form.model).SerializeToString(deterministic=True)},
        inputs=tuple(map(spec_of, form.model.graph.inputs)),
        outputs=tuple(map(spec_of, form.model.graph.outputs)),
        passes=form.passes,
        kept_float=KEPT_FLOAT if half else {},
    )


def read_ops(path: Path) -> tuple[OpInfo, ...]:
    """The operations of an ONNX file, in the order they are executed.

    Raises:
        ArtifactError: The file is not an ONNX model.
    """
    try:
        graph = ir.load(path).graph
    except (DecodeError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path.name} is not an ONNX model that can be read: {' '.join(str(error).split())}"
        ) from error
    if not len(graph):
        raise ArtifactError(f"{path.name} is not an ONNX model: it has no operations")
    seen: set[str] = set()
    return tuple(_op_info(node, seen) for node in graph)


def _op_info(node: ir.Node, seen: set[str]) -> OpInfo:
    """One node; ``seen`` are the constants counted so far."""
    value = node.outputs[0]
    constants = {name_of(v): v for v in node.inputs if is_constant(v)}
    fresh = [v for name, v in constants.items() if v is not None and name not in seen]
    seen.update(constants)
    return OpInfo(
        op=f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
        name=name_of(value),
        dtype=value.dtype.numpy().name if value.dtype is not None else "unknown",
        shape=shape_of(value),
        const_bytes=sum(v.const_value.nbytes for v in fresh if v.const_value is not None),
        macs=_macs(node),
    )


def _macs(node: ir.Node) -> int:
    """Each element of the output takes one multiply-accumulate per weight that leads to it."""
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    left, right = (shape_of(v) for v in node.inputs[:2] if v is not None)
    depth = math.prod(right[1:]) if node.op_type == "Conv" else left[-1]
    return math.prod(shape_of(node.outputs[0])) * depth
