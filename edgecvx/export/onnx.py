"""ONNX files: the canonical graph in standard operations only, in the form ONNX Runtime runs fastest."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgecvx.export.lowered import Lowered
from edgecvx.export.onnx_rows import RowForm
from edgecvx.export.rewrite import spec_of
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
