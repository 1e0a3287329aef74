"""How TensorRT's rules walk a graph: its pairs of Q and DQ, its layers, who gives a value and who reads it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import onnx_ir as ir

from edgecvx.graph.qdq import DEQUANTIZE, QUANTIZE
from edgecvx.graph.values import LAYERS, constant_of, is_constant, name_of, producer, readers

MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast")
"""What changes the place or the type of numbers and computes nothing."""
POINTWISE = ("Add", "Div", "Mul", "Sub")
CURVES = ("Erf", "Tanh", "Sigmoid")
"""What makes a chain of pointwise operations an activation function."""


def label(node: ir.Node) -> str:
    """What a node is called by."""
    return node.name or name_of(node.outputs[0])


def pairs(model: ir.Model) -> Iterator[ir.Node]:
    """Every Q and every DQ."""
    return (node for node in model.graph if node.op_type in (QUANTIZE, DEQUANTIZE))


def layers(model: ir.Model) -> Iterator[ir.Node]:
    """Every node with weights."""
    return (node for node in model.graph if node.op_type in LAYERS)


def type_of(value: ir.Value | None) -> ir.DataType | None:
    """A constant's own type; what a file says of its constants beside them may be wrong."""
    if value is None:
        return None
    return value.const_value.dtype if value.const_value is not None else value.dtype


def is_static(value: ir.Value) -> bool:
    """Whether a value has a type and a shape that is known."""
    return value.shape is not None and value.shape.is_static() and value.dtype is not None


def source_of(node: ir.Node, passes: Callable[[ir.Node], bool]) -> ir.Node | None:
    """The node that a node's first input comes from, behind those that pass it on."""
    source = producer(node.inputs[0])
    while source is not None and passes(source):
        source = producer(source.inputs[0])
    return source


def is_weight(node: ir.Node) -> bool:
    """Whether this is the DQ of constant weights."""
    return node.op_type == DEQUANTIZE and is_constant(node.inputs[0])


def is_quantized(node: ir.Node) -> bool:
    """Whether both inputs of a layer are behind DQ."""
    return all(producer(value, DEQUANTIZE) is not None for value in node.inputs[:2])


def shifts(node: ir.Node) -> bool:
    """Whether a node only adds or multiplies by a constant, as a bias that is no input of its convolution does."""
    return node.op_type in POINTWISE and len(node.inputs) == 2 and is_constant(node.inputs[1])


def reaches_curve(value: ir.Value) -> bool:
    """Whether a chain of pointwise operations on one tensor leads from a value to an activation function's curve."""
    if readers(value, CURVES):
        return True
    return any(
        reaches_curve(node.outputs[0])
        for node in readers(value, POINTWISE)
        if all(v is value or (is_constant(v) and constant_of(v).size == 1) for v in node.inputs)
    )


def scale_of(node: ir.Node) -> float:
    """The scale of a Q or DQ that has one; NaN otherwise."""
    value = node.inputs[1]
    return float(constant_of(value).flat[0]) if is_constant(value) and constant_of(value).size == 1 else math.nan
