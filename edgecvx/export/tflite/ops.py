"""What each node of the canonical graph becomes in a TFLite file; convolutions are in ``tflite_convolutions``.

One function per op, listed in ``RULES``. Every operator used has a plain kernel since TFLite 2.9 and is taken by
XNNPACK, so that the whole graph is one partition there; ``docs/tflite.md`` says what was tried and measured for each.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from edgecvx.errors import ExportError
from edgecvx.export.tflite.convolutions import conv, gemm
from edgecvx.export.tflite.emitter import Emitter, int8_of
from edgecvx.graph.canonical import DOMAIN
from edgecvx.graph.grids import BYTES
from edgecvx.graph.qdq import QUANTIZE, grid_of
from edgecvx.graph.values import name_of, readers

SPATIAL, CHANNELS = (1, 2), (3,)
"""The axes of an NHWC map."""


def _layer_norm(e: Emitter, node: ir.Node) -> None:
    """``d * rsqrt(mean(d * d) + eps)`` with ``d = x - mean(x)``.

    Not ``mean(x * x) - mean(x)**2``, which saves a pass over the map and loses every digit where the mean is large
    against the deviation. XNNPACK runs the square and its mean as one reduction.
    """
    x, name = e.read(node.inputs[0]), name_of(node.outputs[0])
    mean = e.reduce("MEAN", x, CHANNELS, f"{name}/mean")
    centred = e.binary("SUB", x, mean, f"{name}/centred")
    square = e.binary("MUL", centred, centred, f"{name}/square")
    variance = e.reduce("MEAN", square, CHANNELS, f"{name}/variance")
    shifted = e.binary("ADD", variance, e.scalar(node.attributes["epsilon"].as_float()), f"{name}/shifted")
    factor = e.unary("RSQRT", shifted, f"{name}/factor")
    e.binary("MUL", centred, factor, e.define(node.outputs[0]))


def _grn(e: Emitter, node: ir.Node) -> None:
    """``x * (base + gamma * N)``: two passes over the map, everything between them on one vector per picture."""
    x, name = e.read(node.inputs[0]), name_of(node.outputs[0])
    gamma, base = e.read(node.inputs[1]), e.read(node.inputs[2])
    square = e.binary("MUL", x, x, f"{name}/square")
    energy = e.reduce("MEAN" if node.op_type == "Grn" else "SUM", square, SPATIAL, f"{name}/energy")
    response = e.unary("SQRT", energy, f"{name}/response")
    mean = e.reduce("MEAN", response, CHANNELS, f"{name}/mean")
    shifted = e.binary("ADD", mean, e.scalar(node.attributes["epsilon"].as_float()), f"{name}/shifted")
    normalized = e.binary("DIV", response, shifted, f"{name}/normalized")
    weighted = e.binary("MUL", normalized, gamma, f"{name}/weighted")
    factor = e.binary("ADD", weighted, base, f"{name}/factor")
    e.binary("MUL", x, factor, e.define(node.outputs[0]))


def _gelu(e: Emitter, node: ir.Node) -> None:
    """In int8, where the graph has grids on both sides, a table of 256 entries that the plain kernel looks up.

    XNNPACK leaves that one to it, which costs partitions; what it saves on a small core is in ``docs/tflite.md``.
    """
    options = e.writer.schema.GeluOptionsT()
    options.approximate = node.attributes["approximate"].as_string() == "tanh"
    if (int8 := int8_of(node)) is not None:
        e.compute("GELU", [e.read(int8.source)], e.define(int8.out, int8.out_grid), options, version=2)
        e.note("int8-gelu")
        return
    e.compute("GELU", [e.read(node.inputs[0])], e.define(node.outputs[0]), options)


def _elementwise(e: Emitter, node: ir.Node) -> None:
    a, b = node.inputs
    e.binary(node.op_type.upper(), e.read(a), e.read(b), e.define(node.outputs[0]))


def _flatten(e: Emitter, node: ir.Node) -> None:
    """Only for ``[B, C, 1, 1]``, where both layouts hold the same numbers in the same order."""
    x, out = e.read(node.inputs[0]), e.define(node.outputs[0])
    if e.writer.shape(x)[1:3] != (1, 1):
        raise ExportError(f"{node.name}: only a pooled map can be flattened without a transpose")
    e.reshape(x, out)


def _cast(e: Emitter, node: ir.Node) -> None:
    """Bytes to floats: the input is marked as quantized with scale 1 and zero point 0, so DEQUANTIZE is the cast.

    XNNPACK takes DEQUANTIZE and leaves CAST to the plain kernel, which would cost a partition. Where the stem computes
    in int8, nobody needs floats: QUANTIZE takes the bytes as they are, and only shifts them.
    """
    read_by = readers(node.outputs[0])
    if read_by and all(reader.op_type == QUANTIZE and grid_of(reader) == BYTES for reader in read_by):
        e.tensors[name_of(node.outputs[0])] = e.read(node.inputs[0])
        return
    options = e.writer.schema.DequantizeOptionsT()
    e.compute("DEQUANTIZE", [e.read(node.inputs[0])], e.define(node.outputs[0]), options)


def _softmax(e: Emitter, node: ir.Node) -> None:
    options = e.writer.schema.SoftmaxOptionsT()
    options.beta = 1.0
    e.compute("SOFTMAX", [e.read(node.inputs[0])], e.define(node.outputs[0]), options)


RULES: dict[tuple[str, str], Callable[[Emitter, ir.Node], object]] = {
    ("", "Cast"): _cast,
    ("", "Conv"): conv,
    (DOMAIN, "LayerNorm2d"): _layer_norm,
    (DOMAIN, "Grn"): _grn,
    (DOMAIN, "GrnL2"): _grn,
    ("", "Gelu"): _gelu,
    ("", "Sigmoid"): lambda e, node: e.compute("LOGISTIC", [e.read(node.inputs[0])], e.define(node.outputs[0])),
    ("", "Mul"): _elementwise,
    ("", "Add"): _elementwise,
    ("", "GlobalAveragePool"): lambda e, node: e.reduce(
        "MEAN", e.read(node.inputs[0]), SPATIAL, e.define(node.outputs[0])
    ),
    ("", "Flatten"): _flatten,
    ("", "Gemm"): gemm,
    ("", "Softmax"): _softmax,
}
"""(domain, op) of a canonical node -> what writes it."""
