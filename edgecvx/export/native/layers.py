"""From the nodes of a quantized graph to the layers of the native engine.

What stands between two layers as a ``Mul`` or an ``Add`` of constants, because no fold took it or because a plan
smooths there, has no operation of its own in the engine: it becomes part of the norm, the GRN or the product beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError
from edgecvx.export.native.description import FloatLinear, Floats, Int8Linear, Linear, Norm
from edgecvx.graph.qdq import quantized_input, weight_of
from edgecvx.graph.values import array_of, is_constant, name_of, number, producer, shape_of

Array = NDArray[Any]

OTHER_SCHEME = "the graph was quantized for another target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """What a value is of another one: ``source * scale + shift``, per channel, in float64."""

    source: ir.Value
    scale: Array
    shift: Array

    @property
    def shifts(self) -> bool:
        """Whether it adds anything."""
        return bool(self.shift.any())


def affine_of(value: ir.Value | None) -> Affine:
    """A value behind any number of ``Mul`` and ``Add`` by constants; ``Flatten`` changes nothing."""
    value = there(value)
    channels = shape_of(value)[1]
    scale, shift = np.ones(channels), np.zeros(channels)
    while (node := producer(value)) is not None:
        constants = [v for v in node.inputs if is_constant(v)]
        if node.op_type in ("Mul", "Add") and len(constants) == 1:
            by = _per_channel(constants[0], channels)
            scale, shift = (scale * by, shift) if node.op_type == "Mul" else (scale, shift + scale * by)
        elif node.op_type != "Flatten":
            break
        value = next(there(v) for v in node.inputs if not is_constant(v))
    return Affine(source=value, scale=scale, shift=shift)


def there(value: ir.Value | None) -> ir.Value:
    """An input that no node of these may leave out."""
    if value is None:
        raise ExportError("a node of the graph reads nothing where a value belongs")
    return value


def linear_of(node: ir.Node) -> tuple[Linear, ir.Value]:
    """A layer's product, and the floats it reads."""
    source, weights, *bias = node.inputs
    name, outputs = name_of(node.outputs[0]), shape_of(node.outputs[0])[1]
    added = _bias(bias, outputs)
    quantized, read = weight_of(weights), quantized_input(source)
    if quantized is None and read is None:
        return FloatLinear(weights=rows(array_of(weights)), bias=added), there(source)
    if quantized is None or read is None:
        raise ExportError(f"{name} has a grid for its weights or for its input alone: {OTHER_SCHEME}")
    read_value, grid = read
    integers = Int8Linear(
        scale=grid.scale,
        zero_point=grid.zero_point,
        weights=rows(quantized.values),
        scales=quantized.scales,
        bias=added,
    )
    return integers, read_value


def rows(weights: Array) -> Array:
    """``[outputs, inputs, rows, columns]`` as ``[outputs, rows * columns * inputs]``; a matrix as it is."""
    moved = weights.transpose(0, 2, 3, 1) if weights.ndim == 4 else weights
    return np.ascontiguousarray(moved.reshape(len(weights), -1))


def scaled(linear: Linear, by: Affine) -> Linear:
    """A product with what follows it: each output scaled and shifted."""
    if not by.shifts and (by.scale == 1).all():
        return linear
    bias = _float32(linear.bias * by.scale + by.shift)
    if isinstance(linear, FloatLinear):
        return replace(linear, weights=_float32(linear.weights * by.scale[:, None]), bias=bias)
    # Scales stay positive: a sign goes into the integers, which never are -128, and a zero makes them zero.
    signs, sizes = np.sign(by.scale).astype(np.int8), np.abs(by.scale)
    scales = _float32(linear.scales * np.where(sizes == 0, 1, sizes))
    return replace(linear, weights=linear.weights * signs[:, None], scales=scales, bias=bias)


def norm_of(value: ir.Value | None) -> tuple[Norm, ir.Value]:
    """The LayerNorm whose result a value is, with all that scales and shifts it, and what it reads."""
    behind = affine_of(value)
    node = producer(behind.source, "LayerNorm2d")
    if node is None:
        raise ExportError(f"{name_of(behind.source)!r} is read where a LayerNorm belongs: {OTHER_SCHEME}")
    norm = Norm(epsilon=number(node, "epsilon"), scale=_float32(behind.scale), shift=_float32(behind.shift))
    return norm, there(node.inputs[0])


def depthwise_of(node: ir.Node) -> tuple[Floats, Floats, int]:
    """A depthwise convolution's weights, ``[kernel * kernel, channels]``, its bias, and its kernel."""
    name, (kernel, stride, pad) = name_of(node.outputs[0]), window_of(node)
    _, weights, *bias = node.inputs
    if weight_of(weights) is not None or quantized_input(node.inputs[0]) is not None:
        raise ExportError(
            f"{name} is INT8, and the native engine computes depthwise convolutions in float: {OTHER_SCHEME}"
        )
    if (stride, pad) != (1, kernel // 2):
        raise ExportError(f"{name} has stride {stride} and padding {pad}, which no depthwise convolution here has")
    values = array_of(weights)
    channels = len(values)
    moved = np.ascontiguousarray(values.reshape(channels, kernel * kernel).T)
    return moved, _bias(bias, channels), kernel


def window_of(node: ir.Node) -> tuple[int, int, int]:
    """Kernel, stride and padding of a convolution whose window is square."""
    kernel, stride, pads, dilations = (
        set(node.attributes[key].as_ints()) for key in ("kernel_shape", "strides", "pads", "dilations")
    )
    if not len(kernel) == len(stride) == len(pads) == 1 or dilations != {1}:
        raise ExportError(f"{name_of(node.outputs[0])} has a window that is not square, or has holes")
    return kernel.pop(), stride.pop(), pads.pop()


def _bias(inputs: Sequence[ir.Value | None], outputs: int) -> Floats:
    return array_of(inputs[0]) if inputs else np.zeros(outputs, np.float32)


def _per_channel(constant: ir.Value | None, channels: int) -> Array:
    values = array_of(constant).astype(np.float64)
    if values.size != channels:
        raise ExportError(f"{name_of(constant)!r} has {values.size} numbers for {channels} channels")
    return values.reshape(channels)


def _float32(array: Array) -> Floats:
    return np.asarray(array, np.float32)
