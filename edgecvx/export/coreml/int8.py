"""The quantized graph's QuantizeLinear and DequantizeLinear as MIL, in the forms Core ML Tools' own quantizer writes.

- An activation is an iOS 17 ``quantize`` and a ``dequantize``, one scale and one zero point per tensor. They stand
  around the layer that is to be computed in INT8; nothing in the program says so but them (``docs/coreml.md``).
- A weight is int8 in the file, with a scale per output channel; ``constexpr_affine_dequantize`` says how it is read.

Scales are constants of the program's float type. float16 has few of the smallest numbers: below ``2**-14`` its steps
are ``2**-24``, and a channel with tiny weights would be scaled by some other number than it was quantized with. Where
the two are a quarter of an int8 step apart, the weights are put on the grid of the scale that can be written.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError
from edgecvx.export.coreml.writer import MilWriter, Var
from edgecvx.graph.grids import BYTES, Grid, Weight, quantize_weight
from edgecvx.graph.qdq import DEQUANTIZE, QUANTIZE, grid_of, quantized_input, weight_of
from edgecvx.graph.values import LAYERS, name_of, producer, readers

KEPT_FLOAT = {
    "LayerNorm2d": "each pixel is divided by its own deviation, which int8 would round",
    "Grn": "its statistics are sums of squares over the whole map",
    "GrnL2": "its statistics are sums of squares over the whole map",
    "Gelu": "Core ML has no integer form of it",
    "Sigmoid": "Core ML has no integer form of it",
    "Add": "the residual sum carries small contributions of every block through the network",
    "GlobalAveragePool": "one vector per picture",
}
"""What of a quantized graph is computed in floats, where the graph has it."""

SMALLEST_HALF = 2.0**-24
"""The smallest float16 above zero, and the distance of the small ones from each other."""
SCALE_TOLERANCE = 2.0**-9
"""A scale that far off, relatively, moves the end of the int8 range by a quarter of a step."""


def quantize(w: MilWriter, node: ir.Node) -> Var:
    """An activation's integers; those that were dequantized from the very same grid are taken as they are."""
    x, grid = node.inputs[0], written_grid(w, node)
    above = producer(x, DEQUANTIZE)
    if above is not None and written_grid(w, above) == grid:
        w.passes.add("requantize-elimination")
        return w.values[name_of(above.inputs[0])]
    if name_of(x) in w.centred:
        w.centred.add(name_of(node.outputs[0]))
    return w.op(
        "quantize",
        w.output(node),
        input=w.input(node, 0),
        scale=w.real(grid.scale),
        zero_point=np.int8(grid.zero_point),
        output_dtype="int8",
    )


def dequantize(w: MilWriter, node: ir.Node) -> Var:
    """The numbers the integers of an activation or of a weight stand for."""
    weight = weight_of(node.outputs[0])
    if weight is not None:
        return _constexpr(w, node, weight)
    source = name_of(node.inputs[0])
    if source in w.centred:
        w.centred.add(name_of(node.outputs[0]))
    grid = written_grid(w, node)
    return w.op(
        "dequantize",
        w.output(node),
        input=w.values[source],
        scale=w.real(grid.scale),
        zero_point=np.int8(grid.zero_point),
    )


def written_grid(w: MilWriter, node: ir.Node) -> Grid:
    """An activation's grid as the program holds it: its scale a number of the program's type."""
    grid = grid_of(node)
    if name_of(node.inputs[0]) in w.centred:
        return Grid(scale=grid.scale)
    if not w.half:
        return grid
    (scale,) = half_scales(name_of(node.inputs[1]), np.array([grid.scale], np.float32))
    return Grid(scale=float(scale), zero_point=grid.zero_point)


def written_weight(w: MilWriter, node: ir.Node, weight: Weight) -> Weight:
    """A layer's weights as the program holds them; ``node`` dequantizes them."""
    if not w.half:
        return weight
    scales = half_scales(name_of(node.inputs[1]), weight.scales).astype(np.float32)
    moved = np.abs(scales / weight.scales - 1) > SCALE_TOLERANCE
    if not moved.any():
        return Weight(values=weight.values, scales=scales)
    again = quantize_weight(weight.dequantize(), scales)
    values = np.where(moved.reshape(-1, *[1] * (weight.values.ndim - 1)), again.values, weight.values)
    return Weight(values=values, scales=scales)


def half_scales(name: str, scales: NDArray[np.float32]) -> NDArray[np.float16]:
    """Scales in float16: the nearest, or where that is much too small, the next above, so that nothing is cut off."""
    if (scales > np.finfo(np.float16).max).any():
        raise ExportError(f"{name}: the scale {scales.max():.3g} is beyond the largest float16, 65504")
    with np.errstate(over="ignore", under="ignore"):
        nearest = scales.astype(np.float16)
        above = (np.ceil(scales.astype(np.float64) / SMALLEST_HALF) * SMALLEST_HALF).astype(np.float16)
    return np.where(nearest.astype(np.float64) < scales * (1 - SCALE_TOLERANCE), above, nearest)


def takes_bytes(value: ir.Value) -> bool:
    """Whether a picture's bytes are only put on the grid on which they are exact, for convolutions without padding."""
    return all(
        node.op_type == QUANTIZE
        and grid_of(node) == BYTES
        and all(reads_unpadded(below.outputs[0]) for below in readers(node.outputs[0]))
        for node in readers(value)
    )


def reads_unpadded(value: ir.Value) -> bool:
    """Whether only convolutions without padding read a value."""
    return all(node.op_type == "Conv" and not any(node.attributes["pads"].as_ints()) for node in readers(value))


def _constexpr(w: MilWriter, node: ir.Node, weight: Weight) -> Var:
    written = written_weight(w, node, weight)
    names = [w.identifiers.of(name_of(value)) for value in node.inputs[:2]]
    return w.op(
        "constexpr_affine_dequantize",
        w.output(node),
        quantized_data=w.mb.const(val=written.values, name=names[0]),
        scale=w.mb.const(val=written.scales.astype(w.dtype), name=names[1]),
        zero_point=np.int8(0),
        axis=0,
    )


def kept_float(graph: ir.Model) -> dict[str, str]:
    """What of a quantized graph is computed in float, and why."""
    ops = {node.op_type for node in graph.graph}
    kept = {op: why for op, why in KEPT_FLOAT.items() if op in ops}
    layers = (node for node in graph.graph if node.op_type in LAYERS)
    return kept | {name_of(n.outputs[0]): "the target's scheme leaves it float" for n in layers if not is_int8(n)}


def is_int8(node: ir.Node) -> bool:
    """Whether a layer multiplies integers: its weights and its input are both quantized."""
    return weight_of(node.inputs[1]) is not None and quantized_input(node.inputs[0]) is not None
