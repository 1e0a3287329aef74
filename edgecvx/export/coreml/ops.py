"""Each op of the canonical graph as MIL, the language of a Core ML program, in the forms the Neural Engine has.

**GRN in FP16.** ``N = G / (mean(G) + eps)`` with ``G`` the root mean square of a channel. Written so, FP16 loses it at
both ends: ``x * x`` passes the largest float16 where ``|x| > 256`` and falls under the smallest where ``|x| < 2.4e-4``,
and ``eps / sqrt(H * W)`` is about 2e-8, which is zero. Statistics in FP32 would cure that, but the Neural Engine has no
FP32: each block would leave it and come back. N does not change when x is scaled, so every square is taken of a number
that is at most 1 instead, and nothing here leaves FP16::

    peak = max over H, W of |x|                      one number per channel
    G    = peak * sqrt(mean((x / max(peak, t))^2))   never above peak: cannot overflow
    N    = G' / max(mean(G'), t)                     G' = G / max(max over C of G, t), so mean(G') >= 1/C

``t = 2**-14`` is the smallest normal float16; it stands in for eps, keeps 0 / 0 from happening, and changes N only
where every activation of a picture is below it. What underflows in the square is at most ``H * W * 6e-8`` of a sum
that is at least 1. The peak is taken as ``max(max(x), -min(x))``: two readings of x, where ``max(abs(x))`` also writes
a copy.

**Bytes in FP16.** With 1/255, mean and standard deviation folded into it, the stem sums bytes, all of one sign, and its
bias takes off what they have in common: on flat pictures the rounding of the weights adds up. So 128 is taken off
first, which is exact, and the bias gets it back, in float64. In INT8 the same makes the bytes' zero point 0.

``GrnL2`` is written as it stands, sums of squares and all: it is there where the fold ``grn-rms`` was switched off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError
from edgecvx.export.coreml.int8 import dequantize, quantize, reads_unpadded, takes_bytes, written_weight
from edgecvx.export.coreml.writer import MilWriter, Var
from edgecvx.graph.canonical import DOMAIN
from edgecvx.graph.qdq import weight_of
from edgecvx.graph.values import array_of, name_of, shape_of

SMALLEST_NORMAL = 2.0**-14
"""Of float16. Below it a Neural Engine may take a number for zero."""
GREY = 128.0
"""The middle of a byte."""
SMALLEST_EPSILON = 2.0**-20
"""A LayerNorm's epsilon in FP16 (about 1e-6): 1e-12, as transformers has it, would be zero there."""


def write(writer: MilWriter, graph: ir.Graph) -> None:
    """Writes every node of a canonical or quantized graph."""
    for node in graph:
        key = (node.domain, node.op_type)
        if key not in LOWERINGS:
            raise ExportError(f"{node.name}: Core ML has no lowering for {node.domain or 'ai.onnx'}.{node.op_type}")
        if not writer.is_gate(node.outputs[0]):
            writer.values[name_of(node.outputs[0])] = LOWERINGS[key](writer, node)


def _conv(w: MilWriter, node: ir.Node) -> Var:
    attributes = node.attributes
    top, left, bottom, right = attributes["pads"].as_ints()
    arguments = {
        "x": w.input(node, 0),
        "weight": w.input(node, 1),
        "strides": attributes["strides"].as_ints(),
        "pad_type": "custom",
        "pad": [top, bottom, left, right],  # MIL pairs them by axis, ONNX by side
        "dilations": attributes["dilations"].as_ints(),
        "groups": attributes["group"].as_int(),
    }
    bias = _bias(w, node)
    constant = None if bias is None else w.constant(f"{node.name}.bias", bias, added=True)
    return w.op("conv", w.output(node), **arguments, bias=constant)


def _bias(w: MilWriter, node: ir.Node) -> NDArray[Any] | None:
    """A convolution's bias, with what was taken off its input."""
    x, weight, bias = (*node.inputs, None)[:3]
    constant = None if bias is None else array_of(bias)
    if x is None or weight is None or name_of(x) not in w.centred:
        return constant
    quantized, above = weight_of(weight), weight.producer()
    floats = (
        array_of(weight) if quantized is None or above is None else written_weight(w, above, quantized).dequantize()
    )
    share: NDArray[Any] = GREY * floats.sum(axis=(1, 2, 3), dtype=np.float64)
    return share if constant is None else share + constant


def _bytes_to_numbers(w: MilWriter, node: ir.Node) -> Var:
    """From bytes to numbers: nothing to do in FP32, where Core ML hands them over as such; else centred."""
    x, value = w.input(node, 0), node.outputs[0]
    plain = takes_bytes(value) or (w.half and reads_unpadded(value))
    if not plain or name_of(value) in w.published:
        return x
    w.passes.add("centre-bytes")
    w.centred.add(name_of(value))
    return w.op("add", w.identifiers.of(f"{name_of(value)}.centred"), x=x, y=w.real(-GREY))  # not the graph's value


def _layer_norm(w: MilWriter, node: ir.Node) -> Var:
    epsilon = node.attributes["epsilon"].as_float()
    if w.half:
        epsilon = max(epsilon, SMALLEST_EPSILON)
    return w.op("layer_norm", w.output(node), x=w.input(node, 0), axes=[1], epsilon=w.real(epsilon))


def _grn_literal(w: MilWriter, node: ir.Node, reduction: str) -> Var:
    """As the function's body has it."""
    x, out = w.input(node, 0), w.output(node)
    square = w.op("mul", f"{out}_square", x=x, y=x)
    energy = w.op(reduction, f"{out}_energy", x=square, axes=[2, 3], keep_dims=True)
    response = w.op("sqrt", f"{out}_response", x=energy)
    mean = w.op("reduce_mean", f"{out}_mean", x=response, axes=[1], keep_dims=True)
    shifted = w.op("add", f"{out}_shifted", x=mean, y=w.real(node.attributes["epsilon"].as_float()))
    normalized = w.op("real_div", f"{out}_normalized", x=response, y=shifted)
    return _grn_apply(w, node, x, normalized)


def _grn_scaled(w: MilWriter, node: ir.Node) -> Var:
    """The same N for FP16: every square is of a number that is at most 1 (see above)."""
    w.passes.add("grn-peak-scaled")
    x, out, tiny = w.input(node, 0), w.output(node), w.real(SMALLEST_NORMAL)
    top = w.op("reduce_max", f"{out}_top", x=x, axes=[2, 3], keep_dims=True)
    bottom = w.op("reduce_min", f"{out}_bottom", x=x, axes=[2, 3], keep_dims=True)
    below = w.op("mul", f"{out}_below", x=bottom, y=w.real(-1.0))
    peak = w.op("maximum", f"{out}_peak", x=top, y=below)
    floor = w.op("maximum", f"{out}_floor", x=peak, y=tiny)
    scaled = w.op("real_div", f"{out}_unit", x=x, y=floor)
    square = w.op("mul", f"{out}_square", x=scaled, y=scaled)
    energy = w.op("reduce_mean", f"{out}_energy", x=square, axes=[2, 3], keep_dims=True)
    root = w.op("sqrt", f"{out}_root", x=energy)
    response = w.op("mul", f"{out}_response", x=root, y=floor)
    loudest = w.op("reduce_max", f"{out}_loudest", x=response, axes=[1], keep_dims=True)
    ceiling = w.op("maximum", f"{out}_ceiling", x=loudest, y=tiny)
    relative = w.op("real_div", f"{out}_relative", x=response, y=ceiling)
    mean = w.op("reduce_mean", f"{out}_mean", x=relative, axes=[1], keep_dims=True)
    divisor = w.op("maximum", f"{out}_divisor", x=mean, y=tiny)
    normalized = w.op("real_div", f"{out}_normalized", x=relative, y=divisor)
    return _grn_apply(w, node, x, normalized)


def _grn_apply(w: MilWriter, node: ir.Node, x: Var, normalized: Var) -> Var:
    out = w.output(node)
    weighted = w.op("mul", f"{out}_weighted", x=normalized, y=w.input(node, 1))
    factor = w.op("add", f"{out}_factor", x=weighted, y=w.input(node, 2))
    return w.op("mul", out, x=x, y=factor)


def _gelu(w: MilWriter, node: ir.Node) -> Var:
    mode = "TANH_APPROXIMATION" if node.attributes["approximate"].as_string() == "tanh" else "EXACT"
    return w.op("gelu", w.output(node), x=w.input(node, 0), mode=mode)


def _mul(w: MilWriter, node: ir.Node) -> Var:
    gated = w.gate_of(node)
    if gated is not None and any(v is not None and name_of(v) not in w.values for v in node.inputs):
        w.passes.add("fuse-silu")
        return w.op("silu", w.output(node), x=w.values[name_of(gated)])
    return w.op("mul", w.output(node), x=w.input(node, 0), y=w.input(node, 1))


def _linear(w: MilWriter, node: ir.Node) -> Var:
    x, weight, bias = (w.input(node, index) for index in range(3))
    return w.op("linear", w.output(node), x=x, weight=weight, bias=bias)


def _softmax(w: MilWriter, node: ir.Node) -> Var:
    """In FP32: halves have no number for what is very unlikely, and these are the numbers a file returns."""
    x, name = w.input(node, 0), name_of(node.outputs[0])
    if w.half:
        w.single.add(name)
        x = w.op("cast", w.identifiers.of(f"{name}.logits"), x=x, dtype="fp32")
    return w.op("softmax", w.identifiers.of(name), x=x, axis=-1)


LOWERINGS: dict[tuple[str, str], Callable[[MilWriter, ir.Node], Var]] = {
    ("", "Cast"): _bytes_to_numbers,
    ("", "Conv"): _conv,
    (DOMAIN, "LayerNorm2d"): _layer_norm,
    (DOMAIN, "Grn"): lambda w, node: _grn_scaled(w, node) if w.half else _grn_literal(w, node, "reduce_mean"),
    (DOMAIN, "GrnL2"): lambda w, node: _grn_literal(w, node, "reduce_sum"),
    ("", "Gelu"): _gelu,
    ("", "Sigmoid"): lambda w, node: w.op("sigmoid", w.output(node), x=w.input(node, 0)),
    ("", "Mul"): _mul,
    ("", "Add"): lambda w, node: w.op("add", w.output(node), x=w.input(node, 0), y=w.input(node, 1)),
    ("", "GlobalAveragePool"): lambda w, node: w.op(
        "reduce_mean", w.output(node), x=w.input(node, 0), axes=[2, 3], keep_dims=True
    ),
    ("", "Flatten"): lambda w, node: w.op(
        "reshape", w.output(node), x=w.input(node, 0), shape=shape_of(node.outputs[0])
    ),
    ("", "Gemm"): _linear,
    ("", "Softmax"): _softmax,
    ("", "QuantizeLinear"): quantize,
    ("", "DequantizeLinear"): dequantize,
}
"""(domain, op) of the canonical graph -> what writes it. Nothing else reaches a lowering."""
