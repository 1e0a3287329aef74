"""How a lowering reads a quantized graph: the canonical graph with QuantizeLinear and DequantizeLinear in it.

The names and places of these nodes are in ``docs/canonical-graph.md``.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecvx.errors import ExportError
from edgecvx.graph.grids import Grid, Weight, as_float32
from edgecvx.graph.values import constant_of, is_constant, producer, readers

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def weight_of(value: ir.Value | None) -> Weight | None:
    """The int8 weights behind a value, or None where it is no dequantized constant."""
    node = producer(value, DEQUANTIZE)
    if node is None or not is_constant(node.inputs[0]):
        return None
    values, scales = (constant_of(v) for v in node.inputs[:2])
    if node.attributes["axis"].as_int() != 0:
        raise ExportError(f"{node.name}: weights are quantized per output channel, which is axis 0")
    return Weight(values=np.asarray(values, np.int8), scales=np.asarray(scales, np.float32))


def grid_of(node: ir.Node) -> Grid:
    """The grid of an activation's QuantizeLinear or DequantizeLinear.

    Raises:
        ExportError: The node has no constant scale for the whole tensor and int8 zero point.
    """
    scale, zero_point = (constant_of(v) for v in node.inputs[1:3])
    if scale.ndim or zero_point.ndim or zero_point.dtype != np.int8:
        raise ExportError(f"{node.name}: activations have one scale and one int8 zero point per tensor")
    return Grid(scale=as_float32(float(scale)), zero_point=int(zero_point))


def quantized_input(value: ir.Value | None) -> tuple[ir.Value, Grid] | None:
    """For a dequantized activation, the float that was quantized and the grid; None for any other value."""
    node = producer(value, DEQUANTIZE)
    quantize = None if node is None else producer(node.inputs[0], QUANTIZE)
    if quantize is None or quantize.inputs[0] is None:
        return None
    return quantize.inputs[0], grid_of(quantize)


def output_grid(value: ir.Value) -> Grid | None:
    """The grid a value is put on at once: its only reader is a QuantizeLinear. None where anybody else reads it."""
    read_by = readers(value)
    if len(read_by) != 1 or read_by[0].op_type != QUANTIZE or value.is_graph_output():
        return None
    return grid_of(read_by[0])


def is_quantized(graph: ir.Model) -> bool:
    """Whether a graph has int8 weights."""
    return any(node.op_type == DEQUANTIZE for node in graph.graph)
