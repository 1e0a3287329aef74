"""Reading a graph: names, shapes and constants of its values, who gives them and who reads them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError, one_of
from edgecvx.spec import Layout, TensorSpec

LAYERS = ("Conv", "Gemm")
"""The operations with weights."""


def shape_of(value: ir.Value | None) -> tuple[int, ...]:
    """The static shape every value of a canonical graph has."""
    if value is None or value.shape is None:
        raise ExportError(f"value {name_of(value)!r} has no shape")
    return tuple(int(d) for d in value.shape)  # type: ignore[arg-type]


def name_of(value: ir.Value | None) -> str:
    """The name every value of a canonical graph has."""
    if value is None or value.name is None:
        raise ExportError("a value of the canonical graph has no name")
    return value.name


def constant_of(value: ir.Value | None) -> NDArray[Any]:
    """The content of a constant, in its own type."""
    if value is None or value.const_value is None:
        raise ExportError(f"{name_of(value)!r} should be a constant and is not")
    return value.const_value.numpy()


def array_of(value: ir.Value | None) -> NDArray[np.float32]:
    """The content of a constant that holds floats."""
    return np.asarray(constant_of(value), dtype=np.float32)


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is an initializer."""
    return value is not None and value.const_value is not None


def producer(value: ir.Value | None, op_type: str | None = None) -> ir.Node | None:
    """The node that gives a value, if there is one, and if it is of this operation."""
    node = None if value is None else value.producer()
    return node if node is not None and op_type in (None, node.op_type) else None


def readers(value: ir.Value, op_types: Collection[str] = ()) -> list[ir.Node]:
    """The nodes that read a value; of these operations, where any are named."""
    return [use.node for use in value.uses() if not op_types or use.node.op_type in op_types]


def number(node: ir.Node, attribute: str) -> float:
    """A float attribute, e.g. ``epsilon``."""
    return float(node.attributes[attribute].as_float())


def attributes_of(node: ir.Node) -> dict[str, int | float | str | Sequence[int]]:
    """All attributes of a node, as plain values."""
    return {name: attribute.value for name, attribute in node.attributes.items()}


def reads_picture(layer: ir.Node) -> bool:
    """Whether a convolution's input is the picture itself, normalized or in bytes."""
    below = producer(layer.inputs[0])
    return layer.op_type == "Conv" and (below is None or below.op_type == "Cast")


def check_taps(graph: ir.Model, taps: Sequence[str]) -> tuple[str, ...]:
    """Returns the taps without those that are outputs anyway.

    Raises:
        UsageError: There is no value of that name.
    """
    known = [name_of(value) for node in graph.graph for value in node.outputs]
    outputs = {name_of(value) for value in graph.graph.outputs}
    for tap in taps:
        if tap not in known:
            raise one_of("value", tap, known)
    return tuple(tap for tap in dict.fromkeys(taps) if tap not in outputs)


def spec_of(value: ir.Value) -> TensorSpec:
    """An input or output in edgecvx's words; maps are NCHW in every ONNX file."""
    names = {ir.DataType.FLOAT: "float32", ir.DataType.FLOAT16: "float16", ir.DataType.UINT8: "uint8"}
    shape = shape_of(value)
    layout: Layout = "NCHW" if len(shape) == 4 else "NC"
    if value.dtype is None or value.dtype not in names:
        raise ExportError(f"{name_of(value)!r} has type {value.dtype}, which no file of edgecvx has")
    return TensorSpec(name=name_of(value), shape=shape, dtype=names[value.dtype], layout=layout)  # type: ignore[arg-type]


def for_one_picture(graph: ir.Model) -> ir.Model:
    """A copy of a graph, whatever its batch, that takes one picture."""
    model = graph.clone()
    for value in (*model.graph.inputs, *(v for node in model.graph for v in node.outputs)):
        value.shape = ir.Shape((1, *shape_of(value)[1:]))
    return model
