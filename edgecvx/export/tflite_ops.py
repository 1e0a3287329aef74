"""What each node of the canonical graph becomes in a TFLite file.

One function per op, listed in ``RULES``. Maps are NHWC from the first tensor to the last, so there is nothing to
transpose: channels are the last axis of every map, and kernels are stored the way TFLite's kernels read them. Every
operator used has a plain kernel since TFLite 2.9 and is taken by XNNPACK, so that the whole graph is one partition
there; ``docs/tflite.md`` says what was tried and measured for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError
from edgecvx.export.canonical import DOMAIN
from edgecvx.export.depthwise import PARTITIONS, same_padding, split
from edgecvx.export.tflite_writer import Writer

SPATIAL, CHANNELS = (1, 2), (3,)
"""The axes of an NHWC map."""

Array = NDArray[Any]
Reduction = Literal["MEAN", "SUM"]

HALF_LOSS = 0.01
"""How much of its norm a kernel may lose as float16: rounding costs about 2**-12, only numbers too small cost more."""


@dataclass(slots=True, kw_only=True)
class Emitter:
    """The file being written, and where each canonical value is in it."""

    writer: Writer
    half_weights: bool
    split_depthwise: bool
    tensors: dict[str, int] = field(default_factory=dict)
    passes: list[str] = field(default_factory=list)

    def read(self, value: ir.Value | None) -> int:
        """The tensor that holds a value: one computed before, or a constant, stored channels last."""
        name = _name(value)
        if value is not None and value.const_value is not None:
            return self.writer.constant(name, channels_last(constant(value)))
        if name not in self.tensors:
            raise ExportError(f"value {name!r} is used before it is computed")
        return self.tensors[name]

    def define(self, value: ir.Value) -> int:
        """A new tensor for a canonical value, under the value's name."""
        name = _name(value)
        self.tensors[name] = self.writer.tensor(name, nhwc(shape_of(value)))
        return self.tensors[name]

    def compute(
        self,
        op: str,
        inputs: Sequence[int],
        out: int | tuple[str, Sequence[int]],
        options: Any = None,
        *,
        version: int = 1,
    ) -> int:
        """Appends an operator with one output: a tensor made before, or a new one of that name and shape."""
        target = out if isinstance(out, int) else self.writer.tensor(*out)
        self.writer.operator(op, inputs, [target], options, version=version)
        return target

    def binary(self, op: str, a: int, b: int, out: int | str) -> int:
        """ADD, SUB, MUL or DIV, with numpy's broadcasting."""
        shape = np.broadcast_shapes(self.writer.shape(a), self.writer.shape(b))
        options = getattr(self.writer.schema, f"{op.title()}OptionsT")()
        return self.compute(op, [a, b], (out, shape) if isinstance(out, str) else out, options)

    def unary(self, op: str, x: int, name: str) -> int:
        """An elementwise operator without options."""
        return self.compute(op, [x], (name, self.writer.shape(x)))

    def reduce(self, op: Reduction, x: int, axes: tuple[int, ...], out: int | str) -> int:
        """A mean or sum over some axes, which stay as 1."""
        options = self.writer.schema.ReducerOptionsT()
        options.keepDims = True
        shape = tuple(1 if i in axes else d for i, d in enumerate(self.writer.shape(x)))
        numbers = self.writer.constant(f"axes{axes}", np.asarray(axes, dtype=np.int32))
        return self.compute(op, [x, numbers], (out, shape) if isinstance(out, str) else out, options)

    def scalar(self, number: float) -> int:
        """A constant without axes."""
        return self.writer.constant(f"{number:.9g}", np.asarray(number, dtype=np.float32))

    def kernel(self, name: str, array: Array) -> int:
        """The weights of a convolution, in the precision the file stores them in."""
        if not self.half_weights:
            return self.writer.constant(name, array)
        stored = self.writer.constant(f"{name}.float16", to_half(name, array))
        options = self.writer.schema.DequantizeOptionsT()
        return self.compute("DEQUANTIZE", [stored], (name, array.shape), options, version=3)

    def bias(self, node: ir.Node) -> int:
        """A convolution's bias; zeros where the graph has none, because XNNPACK's older releases insist on one."""
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            return self.read(node.inputs[2])
        return self.zeros(constant(node.inputs[1]).shape[0])

    def zeros(self, channels: int) -> int:
        """A bias that adds nothing."""
        return self.writer.constant(f"zeros{channels}", np.zeros(channels, dtype=np.float32))


def nhwc(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape an NCHW value has in the file; a vector per picture stays as it is."""
    return (shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else tuple(shape)


def channels_last(array: Array) -> Array:
    """An NCHW constant as the file stores it; a vector stays as it is."""
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The static shape of a canonical value."""
    if value.shape is None:
        raise ExportError(f"value {value.name!r} has no shape; only canonical graphs can be lowered")
    return tuple(int(d) for d in value.shape)  # type: ignore[arg-type]


def constant(value: ir.Value | None) -> Array:
    """The content of a constant."""
    if value is None or value.const_value is None:
        raise ExportError(f"{_name(value)!r} has to be a constant here")
    return value.const_value.numpy()


def to_half(name: str, array: Array) -> NDArray[np.float16]:
    """Rounds weights to float16.

    Raises:
        ExportError: They do not fit: some become infinite, or together they lose more than ``HALF_LOSS`` of their norm.
    """
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    largest = float(np.abs(array).max(initial=0.0))
    if not np.isfinite(half).all():
        raise ExportError(f"{name!r} reaches {largest:g}, and float16 ends at 65504; export this model as fp32")
    lost = np.linalg.norm((half.astype(np.float64) - array).ravel())
    if lost > HALF_LOSS * np.linalg.norm(array.astype(np.float64).ravel()):
        raise ExportError(
            f"{name!r} reaches only {largest:g}, too small for float16 to hold; export this model as fp32"
        )
    return half


def _name(value: ir.Value | None) -> str:
    if value is None or value.name is None:
        raise ExportError("a value of the graph has no name; only canonical graphs can be lowered")
    return value.name


def _conv(e: Emitter, node: ir.Node) -> None:
    weight, x = constant(node.inputs[1]), e.read(node.inputs[0])
    group = node.attributes["group"].as_int()
    if group == 1:
        filters = e.kernel(_name(node.inputs[1]), weight.transpose(0, 2, 3, 1))
        options = e.writer.schema.Conv2DOptionsT()
        x = _window(e, node, x, options)
        e.compute("CONV_2D", [x, filters, e.bias(node)], e.define(node.outputs[0]), options)
    elif not group == weight.shape[0] == e.writer.shape(x)[3]:
        raise ExportError(f"{node.name}: a convolution in {group} groups is neither full nor depthwise")
    elif e.split_depthwise and _is_splittable(node, weight):
        _split_depthwise(e, node, x, weight)
    else:
        filters = e.kernel(_name(node.inputs[1]), weight.transpose(1, 2, 3, 0))
        options = e.writer.schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
        x = _window(e, node, x, options)
        version = 2 if options.dilationHFactor * options.dilationWFactor > 1 else 1
        e.compute("DEPTHWISE_CONV_2D", [x, filters, e.bias(node)], e.define(node.outputs[0]), options, version=version)


def _window(e: Emitter, node: ir.Node, x: int, options: Any) -> int:
    """Writes strides, dilations and padding into the options; returns the input, padded where SAME would pad otherwise.

    SAME at stride 2 over an even picture pads only behind it, where ONNX's pads of a 3x3 pad in front. The PAD costs
    nothing under XNNPACK, which takes it into the convolution.
    """
    schema = e.writer.schema
    kernel, strides, dilations, pads = (
        tuple(node.attributes[k].as_ints()) for k in ("kernel_shape", "strides", "dilations", "pads")
    )
    options.strideH, options.strideW = strides
    options.dilationHFactor, options.dilationWFactor = dilations
    shape = e.writer.shape(x)
    same = [same_padding(shape[i + 1], kernel[i], strides[i], dilations[i]) for i in (0, 1)]
    wanted = [(pads[0], pads[2]), (pads[1], pads[3])]
    options.padding = schema.Padding.SAME if wanted == same and any(pads) else schema.Padding.VALID
    if wanted == same or not any(pads):
        return x
    amounts = np.asarray([(0, 0), *wanted, (0, 0)], dtype=np.int32)
    padded = [d + int(a.sum()) for d, a in zip(shape, amounts, strict=True)]
    inputs = [x, e.writer.constant(f"pads{pads}", amounts)]
    return e.compute("PAD", inputs, (f"{node.name}/padded", padded), schema.PadOptionsT())


def _is_splittable(node: ir.Node, weight: Array) -> bool:
    height, width = weight.shape[2:]
    others = {k: tuple(node.attributes[k].as_ints()) for k in ("strides", "dilations", "pads")}
    plain = {"strides": (1, 1), "dilations": (1, 1), "pads": (height // 2,) * 4}
    return height == width and height in PARTITIONS and others == plain


def _split_depthwise(e: Emitter, node: ir.Node, x: int, weight: Array) -> None:
    """Identity 6: the sum of a few depthwise convolutions; the bias goes with the first."""
    schema, name, shape = e.writer.schema, _name(node.outputs[0]), e.writer.shape(x)
    parts: list[int] = []
    for grid, taps in split(weight, PARTITIONS[weight.shape[-1]]):
        filters = e.kernel(f"{_name(node.inputs[1])}/{grid.name}", taps.transpose(1, 2, 3, 0))
        bias = e.zeros(weight.shape[0]) if parts else e.bias(node)
        options = schema.DepthwiseConv2DOptionsT()
        options.padding, options.depthMultiplier, options.strideH, options.strideW = schema.Padding.SAME, 1, 1, 1
        options.dilationHFactor, options.dilationWFactor = grid.dilation
        out = (f"{name}/{grid.name}", shape)
        parts.append(e.compute("DEPTHWISE_CONV_2D", [x, filters, bias], out, options, version=2))
    total = parts[0]
    for part in parts[1:-1]:
        total = e.binary("ADD", total, part, f"{name}/sum")
    e.binary("ADD", total, parts[-1], e.define(node.outputs[0]))
    if "depthwise-split" not in e.passes:
        e.passes.append("depthwise-split")


def _layer_norm(e: Emitter, node: ir.Node) -> None:
    """``d * rsqrt(mean(d * d) + eps)`` with ``d = x - mean(x)``.

    Not ``mean(x * x) - mean(x)**2``, which saves a pass over the map and loses every digit where the mean is large
    against the deviation. XNNPACK runs the square and its mean as one reduction.
    """
    x, name = e.read(node.inputs[0]), _name(node.outputs[0])
    mean = e.reduce("MEAN", x, CHANNELS, f"{name}/mean")
    centred = e.binary("SUB", x, mean, f"{name}/centred")
    square = e.binary("MUL", centred, centred, f"{name}/square")
    variance = e.reduce("MEAN", square, CHANNELS, f"{name}/variance")
    shifted = e.binary("ADD", variance, e.scalar(node.attributes["epsilon"].as_float()), f"{name}/shifted")
    factor = e.unary("RSQRT", shifted, f"{name}/factor")
    e.binary("MUL", centred, factor, e.define(node.outputs[0]))


def _grn(e: Emitter, node: ir.Node) -> None:
    """``x * (base + gamma * N)``: two passes over the map, everything between them on one vector per picture."""
    x, name = e.read(node.inputs[0]), _name(node.outputs[0])
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
    options = e.writer.schema.GeluOptionsT()
    options.approximate = node.attributes["approximate"].as_string() == "tanh"
    e.compute("GELU", [e.read(node.inputs[0])], e.define(node.outputs[0]), options)


def _sigmoid(e: Emitter, node: ir.Node) -> None:
    e.compute("LOGISTIC", [e.read(node.inputs[0])], e.define(node.outputs[0]))


def _elementwise(e: Emitter, node: ir.Node) -> None:
    a, b = node.inputs
    e.binary(node.op_type.upper(), e.read(a), e.read(b), e.define(node.outputs[0]))


def _global_pool(e: Emitter, node: ir.Node) -> None:
    e.reduce("MEAN", e.read(node.inputs[0]), SPATIAL, e.define(node.outputs[0]))


def _flatten(e: Emitter, node: ir.Node) -> None:
    """Only for ``[B, C, 1, 1]``, where both layouts hold the same numbers in the same order."""
    x, out = e.read(node.inputs[0]), e.define(node.outputs[0])
    if e.writer.shape(x)[1:3] != (1, 1):
        raise ExportError(f"{node.name}: only a pooled map can be flattened without a transpose")
    options = e.writer.schema.ReshapeOptionsT()
    options.newShape = np.asarray(e.writer.shape(out), dtype=np.int32)
    e.compute("RESHAPE", [x, e.writer.constant(f"{node.name}/shape", options.newShape)], out, options)


def _gemm(e: Emitter, node: ir.Node) -> None:
    filters = e.kernel(_name(node.inputs[1]), constant(node.inputs[1]))
    options = e.writer.schema.FullyConnectedOptionsT()
    e.compute("FULLY_CONNECTED", [e.read(node.inputs[0]), filters, e.bias(node)], e.define(node.outputs[0]), options)


def _cast(e: Emitter, node: ir.Node) -> None:
    """Bytes to floats: the input is marked as quantized with scale 1 and zero point 0, so DEQUANTIZE is the cast.

    XNNPACK takes DEQUANTIZE and leaves CAST to the plain kernel, which would cost a partition.
    """
    options = e.writer.schema.DequantizeOptionsT()
    e.compute("DEQUANTIZE", [e.read(node.inputs[0])], e.define(node.outputs[0]), options)


RULES: dict[tuple[str, str], Callable[[Emitter, ir.Node], None]] = {
    ("", "Cast"): _cast,
    ("", "Conv"): _conv,
    (DOMAIN, "LayerNorm2d"): _layer_norm,
    (DOMAIN, "Grn"): _grn,
    (DOMAIN, "GrnL2"): _grn,
    ("", "Gelu"): _gelu,
    ("", "Sigmoid"): _sigmoid,
    ("", "Mul"): _elementwise,
    ("", "Add"): _elementwise,
    ("", "GlobalAveragePool"): _global_pool,
    ("", "Flatten"): _flatten,
    ("", "Gemm"): _gemm,
}
"""(domain, op) of a canonical node -> what writes it."""
