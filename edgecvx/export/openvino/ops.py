"""What each node of the canonical graph becomes in an OpenVINO IR: one function per operation.

A quantized graph differs in three places: quantized activations become ``FakeQuantize``, int8 weights ``Convert`` and
``Multiply``, the patterns that OpenVINO's low-precision transformations turn into int8 convolutions, and LayerNorm
is written around ``NormalizeL2``, into which the CPU plugin takes the ``FakeQuantize`` that follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError
from edgecvx.graph.canonical import DOMAIN
from edgecvx.graph.qdq import DEQUANTIZE, quantized_input, weight_of
from edgecvx.graph.values import array_of, is_constant, name_of, number, shape_of

Rule = Callable[[Any, ir.Node, Mapping[str, Any]], Any]
"""OpenVINO's operations, a node, and what was written for the values before it -> what stands for its output."""

LEVELS = 256
"""Of int8."""


def rules(*, quantized: bool) -> Mapping[tuple[str, str], Rule]:
    """The rule for each operation, by its domain and type."""
    return {**_RULES, (DOMAIN, "LayerNorm2d"): _layer_norm_l2} if quantized else _RULES


def _fake_quantize(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    """A QuantizeLinear with its DequantizeLinear: rounds to the grid's numbers, which stay floats in the file."""
    found = quantized_input(node.outputs[0])
    if found is None:
        raise ExportError(f"{node.name}: there is no QuantizeLinear before it")
    source, grid = found
    name = name_of(node.outputs[0])
    low, high = (_constant(ops, f"{name}.{end}", np.array(v)) for end, v in (("low", grid.low), ("high", grid.high)))
    return ops.fake_quantize(values[name_of(source)], low, high, low, high, LEVELS)


def _conv(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    strides, pads = (list(node.attributes[name].as_ints()) for name in ("strides", "pads"))
    geometry = (strides, pads[:2], pads[2:], list(node.attributes["dilations"].as_ints()))
    x = values[name_of(node.inputs[0])]
    if node.attributes["group"].as_int() == 1:
        y = ops.convolution(x, _weights(ops, node.inputs[1]), *geometry)
    else:  # depthwise: OpenVINO's weights are [groups, out, in, kh, kw]
        y = ops.group_convolution(x, _weights(ops, node.inputs[1], grouped=True), *geometry)
    return _with_bias(ops, node, y, "conv")


def _with_bias(ops: Any, node: ir.Node, y: Any, kind: str) -> Any:
    """A layer's products, and the bias it may have, one number per channel."""
    if len(node.inputs) < 3:
        return y
    y.set_friendly_name(f"{name_of(node.outputs[0])}/{kind}")
    bias, ones = node.inputs[2], [1] * (len(shape_of(node.outputs[0])) - 2)
    return ops.add(y, _constant(ops, name_of(bias), array_of(bias).reshape(1, -1, *ones)))


def _weights(ops: Any, value: ir.Value | None, *, grouped: bool = False) -> Any:
    """A layer's weights; int8 ones with the operations that OpenVINO takes back to integers."""
    quantized = weight_of(value)
    if quantized is None:
        array = array_of(value)
        return _constant(ops, name_of(value), array[:, None] if grouped else array)
    integers = quantized.values[:, None] if grouped else quantized.values
    name = name_of(value).removesuffix(".dequantized")
    converted = ops.convert(ops.constant(np.ascontiguousarray(integers), name=f"{name}.int8"), "f32")
    converted.set_friendly_name(f"{name}.float")
    scales = quantized.scales.reshape(-1, *[1] * (integers.ndim - 1))
    product = ops.multiply(converted, _constant(ops, f"{name}.scale", scales))
    product.set_friendly_name(f"{name}.dequantized")
    return product


def _layer_norm(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    x = values[name_of(node.inputs[0])]
    return ops.mvn(x, _integers(ops, 1), True, number(node, "epsilon"), "INSIDE_SQRT")


def _layer_norm_l2(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    """``d / sqrt(mean(d²) + eps)`` is ``sqrt(C) d / sqrt(sum(d²) + C eps)``, with ``d = x - mean(x)``."""
    x, name = values[name_of(node.inputs[0])], name_of(node.outputs[0])
    channels = shape_of(node.outputs[0])[1]
    centred = ops.subtract(x, ops.reduce_mean(x, _integers(ops, 1), True))
    unit = ops.normalize_l2(centred, _integers(ops, 1), channels * number(node, "epsilon"), "add")
    return ops.multiply(unit, _constant(ops, f"{name}.length", np.array(math.sqrt(channels))))


def _grn(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    """``N = G / (mean(G) + eps)`` does not change when ``G`` and ``eps`` are scaled alike, so both forms take the norm.

    One ``ReduceL2`` keeps the squares inside a kernel that sums in float32; a product ``x * x`` between two operations
    would overflow float16 on the devices that compute in it.
    """
    x, name = values[name_of(node.inputs[0])], name_of(node.outputs[0])
    gamma, base = (_constant(ops, name_of(v), array_of(v)) for v in node.inputs[1:])
    pixels = math.prod(shape_of(node.outputs[0])[2:])
    epsilon = number(node, "epsilon") * (math.sqrt(pixels) if node.op_type == "Grn" else 1.0)
    response = ops.reduce_l2(x, _integers(ops, 2, 3), True)
    mean = ops.reduce_mean(response, _integers(ops, 1), True)
    normalized = ops.divide(response, ops.add(mean, _constant(ops, f"{name}.epsilon", np.array(epsilon))))
    return ops.multiply(x, ops.add(ops.multiply(normalized, gamma), base))


def _gelu(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    tanh = node.attributes["approximate"].as_string() == "tanh"
    return ops.gelu(values[name_of(node.inputs[0])], "tanh" if tanh else "erf")


def _binary(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    operands = [_constant(ops, name_of(v), array_of(v)) if is_constant(v) else values[name_of(v)] for v in node.inputs]
    return (ops.add if node.op_type == "Add" else ops.multiply)(*operands)


def _flatten(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    shape = _integers(ops, *shape_of(node.outputs[0]))
    return ops.reshape(values[name_of(node.inputs[0])], shape, False)


def _gemm(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    y = ops.matmul(values[name_of(node.inputs[0])], _weights(ops, node.inputs[1]), False, True)
    return _with_bias(ops, node, y, "matmul")


_RULES: dict[tuple[str, str], Rule] = {
    ("", "Cast"): lambda ops, node, values: ops.convert(values[name_of(node.inputs[0])], "f32"),
    ("", DEQUANTIZE): _fake_quantize,
    ("", "Conv"): _conv,
    ("", "Gemm"): _gemm,
    ("", "Softmax"): lambda ops, node, values: ops.softmax(values[name_of(node.inputs[0])], 1),
    ("", "Gelu"): _gelu,
    ("", "Sigmoid"): lambda ops, node, values: ops.sigmoid(values[name_of(node.inputs[0])]),
    ("", "Add"): _binary,
    ("", "Mul"): _binary,
    ("", "GlobalAveragePool"): lambda ops, node, values: ops.reduce_mean(
        values[name_of(node.inputs[0])], _integers(ops, 2, 3), True
    ),
    ("", "Flatten"): _flatten,
    (DOMAIN, "LayerNorm2d"): _layer_norm,
    (DOMAIN, "Grn"): _grn,
    (DOMAIN, "GrnL2"): _grn,
}


def _constant(ops: Any, name: str, array: NDArray[np.floating]) -> Any:
    return ops.constant(np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape), name=name)


def _integers(ops: Any, *values: int) -> Any:
    return ops.constant(np.array(values, dtype=np.int64))
