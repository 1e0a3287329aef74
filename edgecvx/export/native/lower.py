"""The file of the native engine: the quantized graph as a network of fixed structure, and its tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from edgecvx.errors import ExportError, one_of
from edgecvx.export.base import Lowered, Options
from edgecvx.export.native.gather import gather
from edgecvx.export.native.points import inner_taps, input_of, outputs_of
from edgecvx.export.native.writer import write
from edgecvx.graph.qdq import is_quantized, weight_of
from edgecvx.graph.scheme import Role, role_of
from edgecvx.graph.values import LAYERS, check_taps, name_of
from edgecvx.native.build import libraries
from edgecvx.spec import Precision

PASSES = ("channels-last", "fixed-structure")

KEPT_FLOAT = {
    "depthwise Conv": "49 products for each number: rounding what it reads would take as long as it saves",
    "LayerNorm": "means and norms of a pixel; what it returns is rounded to int8 in the same pass",
    "activation function": "computed on the float sums in the kernel of fc1; what lies between fc1 and fc2 is kept in "
    "16-bit integers, with twice the calibrated reach as their range",
    "GRN": "norms over the picture, and a factor per channel; rounded to int8 in the same pass",
    "residual sum": "the one tensor that all blocks add to: roundings would pile up in it",
    "pooling": "a mean over the picture",
}
"""What every file computes in float, and why."""
FLOAT_LAYER = "the plan leaves it in float"


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeOptions(Options):
    """How to write a file of the native engine."""

    precision: Precision = Precision.INT8
    platforms: tuple[str, ...] = ()
    """Where it is to run: its artifact brings a library for each (``edgecvx.native.platforms``)."""


def lower(graph: ir.Model, options: NativeOptions) -> Lowered:
    """Writes a quantized graph as an ``.ecvx`` file, and the libraries that run it.

    Raises:
        ExportError: The graph is not quantized, or holds what the engine does not have.
        UsageError: A tap names no value of the graph, or none that the engine can return; or there is no such platform.
        RuntimeUnavailableError: A library is asked for, and zig is not installed.
    """
    if options.precision is not Precision.INT8 or not is_quantized(graph):
        kind = "quantized" if is_quantized(graph) else "float"
        raise ExportError(f"a {kind} graph cannot be written with precision {options.precision.value}")
    described = gather(graph)
    known = inner_taps(described)
    taps = check_taps(graph, options.taps)
    for name in taps:
        if name not in known:
            raise one_of("value of a file of the native engine", name, tuple(known))
    described = replace(described, taps=tuple(known[name] for name in taps))
    return Lowered(
        files={".ecvx": write(described), **libraries(options.platforms)},
        inputs=(input_of(described),),
        outputs=outputs_of(described),
        passes=PASSES,
        kept_float=_kept_float(graph),
    )


def _kept_float(graph: ir.Model) -> dict[str, str]:
    """By kind what is always float, where the network has it, and each layer that could have been INT8."""
    kinds = {node.op_type for node in graph.graph}
    absent = {"GRN": {"Grn", "GrnL2"}, "pooling": {"GlobalAveragePool"}}
    kept = {what: why for what, why in KEPT_FLOAT.items() if absent.get(what, kinds) & kinds}
    layers = [name_of(n.outputs[0]) for n in graph.graph if n.op_type in LAYERS and weight_of(n.inputs[1]) is None]
    return kept | {name: FLOAT_LAYER for name in layers if role_of(name) is not Role.DEPTHWISE}
