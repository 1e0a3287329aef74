"""ONNX files: the canonical graph in standard operations only, in the form ONNX Runtime runs fastest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import onnx_ir as ir

from edgecvx.errors import ExportError, one_of
from edgecvx.export.base import Lowered, Options
from edgecvx.export.onnx.form import lowered
from edgecvx.export.onnx.int8 import IntegerRowForm
from edgecvx.export.onnx.plain import plain_form
from edgecvx.export.onnx.rows import RowForm
from edgecvx.graph.qdq import is_quantized

KEPT_FLOAT = {
    "LayerNormalization": "mean and deviation: squares of activations overflow float16, and epsilon 1e-6 is zero in it",
    "GRN statistics": "squares of activations overflow float16, and the epsilon, around 1e-8, is zero in it",
    "ReduceMean": "the pooled sum over a picture overflows float16",
}
"""What an FP16 file computes in float32, and why."""

Form = Literal["rows", "plain"]
"""``rows``: as ONNX Runtime's CPU provider runs it fastest, in INT8 with operations of its own (``com.microsoft``).
``plain``: the canonical graph with its functions written out, in INT8 with QuantizeLinear and DequantizeLinear: what
other tools that read ONNX expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions(Options):
    """How to write an ONNX file."""

    form: Form = "rows"

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise one_of("form of an ONNX file", self.form, get_args(Form))
        if self.form == "plain" and self.precision.half:
            raise ExportError("there is no plain form in FP16: only the form in rows knows what has to stay float32")


def lower(graph: ir.Model, options: OnnxOptions) -> Lowered:
    """Writes a canonical graph, or a quantized one, as an ONNX file.

    The file has opset 20 (``Gelu``), static shapes, no functions, and the graph's metadata. Its operations are standard
    ones, but for the integer products of an INT8 file in rows. Input and outputs are float32 (or uint8) in every file.

    Raises:
        ExportError: The graph's weights are not what the precision says, or one does not fit into float16.
        UsageError: A tap names no value of the graph.
    """
    if is_quantized(graph) is not options.precision.quantized:
        found = "int8" if is_quantized(graph) else "no int8"
        raise ExportError(f"an ONNX file in {options.precision.value} was asked for, but the graph has {found} weights")
    if options.form == "plain":
        return lowered(plain_form(graph, options.taps), passes=("functions-written-out",))
    if options.precision.quantized:
        integers = IntegerRowForm(graph, taps=options.taps)
        return lowered(integers.model, integers.passes, integers.kept_float)
    half = options.precision.half
    floats = RowForm(graph, half=half, taps=options.taps)
    return lowered(floats.model, floats.passes, KEPT_FLOAT if half else {})
