"""Convolutions and the classifier in a TFLite file: in float, in int8, and with a scale found at run time.

Three arithmetics, chosen by what the graph says of a layer:

float
    Nothing of it is quantized. A 7x7 depthwise is split into grids that XNNPACK has kernels for (identity 6).
int8
    Input, weights and output have grids. TFLite's int8 kernels return int8 and nothing else, so a layer without a grid
    for its output cannot be one of these.
dynamic range
    Only the weights are int8, or also the input while the output is not: the kernel takes floats, finds their scale
    when it runs, multiplies int8 by int8, and returns floats. The input's grid, if there is one, is not used. XNNPACK
    has no such depthwise; it has such a convolution in groups, and a depthwise is one with zeros in its weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecvx.errors import ExportError
from edgecvx.export.tflite.depthwise import PARTITIONS, same_padding, split
from edgecvx.export.tflite.emitter import Array, Emitter, Int8, int8_of, nhwc
from edgecvx.export.tflite.writer import Quantization
from edgecvx.graph.grids import Grid, Weight, bias_int32, grid_of_range
from edgecvx.graph.qdq import quantized_input, weight_of
from edgecvx.graph.values import array_of, name_of, readers, shape_of

INT8, DYNAMIC, SPLIT, GROUPED = "int8", "dynamic-range", "depthwise-split", "depthwise-grouped"
"""Names of what was applied, for the manifest."""

GROUP = 8
"""Channels in a group of a depthwise that finds its scale at run time. Of 1, 2, 4, 8 and 16 it has the fewest
instructions on a Cortex-A72, and no other is faster on x86; 16 has 1% fewer on a Cortex-A76, and twice the bytes."""


def conv(e: Emitter, node: ir.Node) -> None:
    """A convolution of the canonical graph: full or depthwise."""
    weight = weight_of(node.inputs[1])
    group = node.attributes["group"].as_int()
    if group != 1 and not group == shape_of(node.outputs[0])[1] == shape_of(node.inputs[0])[1]:
        raise ExportError(f"{node.name}: a convolution in {group} groups is neither full nor depthwise")
    if weight is None:
        _float(e, node, depthwise=group != 1)
    elif (int8 := int8_of(node)) is not None:
        _int8(e, node, int8, weight, depthwise=group != 1)
    else:
        _dynamic(e, node, weight, depthwise=group != 1)


def gemm(e: Emitter, node: ir.Node) -> None:
    """The classifier. With int8 weights it is a convolution of one pixel per picture.

    FULLY_CONNECTED knows a scale per channel beside float inputs only since TFLite 2.17, CONV_2D since 2.4.
    """
    weight = weight_of(node.inputs[1])
    if weight is None:
        filters = e.kernel(name_of(node.inputs[1]), array_of(node.inputs[1]))
        options = e.writer.schema.FullyConnectedOptionsT()
        inputs = [e.read(node.inputs[0]), filters, e.bias(node)]
        e.compute("FULLY_CONNECTED", inputs, e.define(node.outputs[0]), options)
        return
    name, (batch, classes) = name_of(node.outputs[0]), shape_of(node.outputs[0])
    int8 = int8_of(node)
    x = e.read(int8.source if int8 else _float_input(node))
    shape = (batch, 1, 1, e.writer.shape(x)[1])
    pixel = e.reshape(x, e.tensor(f"{name}/input", shape, int8.source_grid if int8 else None))
    filters = _int8_kernel(e, node, weight, weight.values[:, None, None, :], axis=0)
    options = _strides(e, e.writer.schema.Conv2DOptionsT())
    shape = (batch, 1, 1, classes)
    if int8:
        inputs = [pixel, filters, _int32_bias(e, node, int8, weight)]
        pixel = e.compute("CONV_2D", inputs, e.tensor(f"{name}/pixel", shape, int8.out_grid), options, version=3)
        e.reshape(pixel, e.define(int8.out, int8.out_grid))
        e.note(INT8)
    else:
        inputs = [pixel, filters, e.bias(node)]
        e.reshape(e.compute("CONV_2D", inputs, (f"{name}/pixel", shape), options, version=5), e.define(node.outputs[0]))
        e.note(DYNAMIC)


def _float(e: Emitter, node: ir.Node, *, depthwise: bool) -> None:
    weight, x, schema = array_of(node.inputs[1]), e.read(node.inputs[0]), e.writer.schema
    if depthwise and e.split_depthwise and _is_splittable(node, weight):
        _split_depthwise(e, node, x, weight)
        return
    options = _options(schema, depthwise=depthwise)
    filters = e.kernel(name_of(node.inputs[1]), _as_stored(weight, depthwise=depthwise))
    x = _padding(e, node, x, options)
    e.compute(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        [x, filters, e.bias(node)],
        e.define(node.outputs[0]),
        options,
        version=2 if depthwise and options.dilationHFactor * options.dilationWFactor > 1 else 1,
    )


def _int8(e: Emitter, node: ir.Node, int8: Int8, weight: Weight, *, depthwise: bool) -> None:
    if depthwise and e.split_depthwise and _is_splittable(node, weight.values):
        _split_int8_depthwise(e, node, int8, weight)
        return
    options = _options(e.writer.schema, depthwise=depthwise)
    values = _as_stored(weight.values, depthwise=depthwise)
    filters = _int8_kernel(e, node, weight, values, axis=3 if depthwise else 0)
    x = _padding(e, node, e.read(int8.source), options, int8.source_grid)
    inputs, out = [x, filters, _int32_bias(e, node, int8, weight)], e.define(int8.out, int8.out_grid)
    e.compute("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", inputs, out, options, version=3)
    e.note(INT8)


def _dynamic(e: Emitter, node: ir.Node, weight: Weight, *, depthwise: bool) -> None:
    """A 1x1 convolution as FULLY_CONNECTED has one scale per pixel, where CONV_2D has one per picture.

    In a file whose other layers have calibrated grids, one per picture is better than those anyway, and CONV_2D older.
    """
    schema, x = e.writer.schema, e.read(_float_input(node))
    calibrated = quantized_input(node.inputs[0]) is not None
    if weight.values.shape[2:] == (1, 1) and not depthwise and not calibrated:
        options = schema.FullyConnectedOptionsT()
        options.keepNumDims = True
        filters = _int8_kernel(e, node, weight, weight.values[:, :, 0, 0], axis=0)
        op, version = "FULLY_CONNECTED", 12
    else:
        options = schema.Conv2DOptionsT()
        values = _in_groups(weight.values) if depthwise else weight.values
        filters = _int8_kernel(e, node, weight, _as_stored(values, depthwise=False), axis=0)
        x = _padding(e, node, x, options)
        op, version = "CONV_2D", 6 if depthwise else 5
    e.compute(op, [x, filters, e.bias(node)], e.define(node.outputs[0]), options, version=version)
    e.note(DYNAMIC)
    if depthwise:
        e.note(GROUPED)


def _in_groups(kernel: Array) -> Array:
    """A depthwise kernel ``[C, 1, H, W]`` as that of a convolution in C / g groups, ``[C, g, H, W]``.

    Each channel reads itself, and the others of its group times zero. There are two groups at least, so that the
    shapes tell a depthwise from a convolution of all channels.
    """
    channels = kernel.shape[0]
    size = math.gcd(channels, GROUP)
    size = size if size < channels else size // 2
    own = np.arange(channels)
    grouped = np.zeros((channels, size, *kernel.shape[2:]), kernel.dtype)
    grouped[own, own % size] = kernel[:, 0]
    return grouped


def _as_stored(kernel: Array, *, depthwise: bool) -> Array:
    """A kernel ``[O, I, H, W]`` in the file's order: ``[O, H, W, I]``, and ``[1, H, W, O]`` of a depthwise."""
    return np.transpose(kernel, (1, 2, 3, 0) if depthwise else (0, 2, 3, 1))


def _int8_kernel(e: Emitter, node: ir.Node, weight: Weight, values: Array, *, axis: int, part: str = "") -> int:
    scales = tuple(float(s) for s in weight.scales)
    quantization = Quantization(scales=scales, axis=axis)
    name = name_of(node.inputs[1]).removesuffix(".dequantized") + (f"/{part}" if part else "")
    return e.writer.constant(name, values, quantization=quantization)


def _int32_bias(e: Emitter, node: ir.Node, int8: Int8, weight: Weight, *, zero: bool = False) -> int:
    """The bias in units of ``input scale * weight scale``; zeros where the graph has none."""
    value = node.inputs[2] if len(node.inputs) > 2 and not zero else None
    bias = np.zeros(len(weight.scales), np.float32) if value is None else array_of(value)
    scale = int8.source_grid.scale
    units = Quantization(scales=tuple(float(np.float32(scale) * s) for s in weight.scales))
    name = f"{name_of(node.outputs[0])}.zeros" if value is None else name_of(value)
    return e.writer.constant(name, bias_int32(bias, scale, weight.scales), quantization=units)


def _float_input(node: ir.Node) -> ir.Value | None:
    """The float value that a layer reads, in front of its grid if it has one."""
    source = quantized_input(node.inputs[0])
    return node.inputs[0] if source is None else source[0]


def _options(schema: Any, *, depthwise: bool) -> Any:
    if not depthwise:
        return schema.Conv2DOptionsT()
    options = schema.DepthwiseConv2DOptionsT()
    options.depthMultiplier = 1
    return options


def _strides(e: Emitter, options: Any, strides: Sequence[int] = (1, 1), dilations: Sequence[int] = (1, 1)) -> Any:
    options.strideH, options.strideW = strides
    options.dilationHFactor, options.dilationWFactor = dilations
    options.padding = e.writer.schema.Padding.VALID
    return options


def _padding(e: Emitter, node: ir.Node, x: int, options: Any, grid: Grid | None = None) -> int:
    """Writes strides, dilations and padding into the options; returns the input, padded where SAME would pad otherwise.

    SAME at stride 2 over an even picture pads only behind it, where ONNX's pads of a 3x3 pad in front. The PAD costs
    nothing under XNNPACK, which takes it into the convolution.
    """
    schema = e.writer.schema
    kernel, strides, dilations, pads = (
        tuple(node.attributes[k].as_ints()) for k in ("kernel_shape", "strides", "dilations", "pads")
    )
    _strides(e, options, strides, dilations)
    shape = e.writer.shape(x)
    same = [same_padding(shape[i + 1], kernel[i], strides[i], dilations[i]) for i in (0, 1)]
    wanted = [(pads[0], pads[2]), (pads[1], pads[3])]
    options.padding = schema.Padding.SAME if wanted == same and any(pads) else schema.Padding.VALID
    if wanted == same or not any(pads):
        return x
    amounts = np.asarray([(0, 0), *wanted, (0, 0)], dtype=np.int32)
    padded = [d + int(a.sum()) for d, a in zip(shape, amounts, strict=True)]
    out = e.tensor(f"{node.name}/padded", padded, grid)
    inputs = [x, e.writer.constant(f"pads{pads}", amounts)]
    return e.compute("PAD", inputs, out, schema.PadOptionsT(), version=1 if grid is None else 2)


def _is_splittable(node: ir.Node, weight: Array) -> bool:
    height, width = weight.shape[2:]
    others = {k: tuple(node.attributes[k].as_ints()) for k in ("strides", "dilations", "pads")}
    plain = {"strides": (1, 1), "dilations": (1, 1), "pads": (height // 2,) * 4}
    return height == width and height in PARTITIONS and others == plain


def _split_depthwise(e: Emitter, node: ir.Node, x: int, weight: Array) -> None:
    """Identity 6: the sum of a few depthwise convolutions; the bias goes with the first."""
    name, shape = name_of(node.outputs[0]), e.writer.shape(x)
    parts: list[int] = []
    for grid, taps in split(weight, PARTITIONS[weight.shape[-1]]):
        filters = e.kernel(f"{name_of(node.inputs[1])}/{grid.name}", _as_stored(taps, depthwise=True))
        bias = e.zeros(weight.shape[0]) if parts else e.bias(node)
        inputs = [x, filters, bias]
        out = (f"{name}/{grid.name}", shape)
        parts.append(e.compute("DEPTHWISE_CONV_2D", inputs, out, _dilated(e, grid.dilation), version=2))
    _add_up(e, parts, e.define(node.outputs[0]))


def _split_int8_depthwise(e: Emitter, node: ir.Node, int8: Int8, weight: Weight) -> None:
    """The same in int8, each part on its own; their sum is float, and is not rounded again.

    The plan knows the range of the sum, not of the parts. A part has fewer taps of the same kernel: on trained networks
    none reached further than 0.92 of what the sum reaches. So each gets the sum's range, as far to either side.
    """
    name, shape = name_of(node.outputs[0]), nhwc(shape_of(int8.out))
    x, whole = e.read(int8.source), grid_of_range(int8.out_grid.low, int8.out_grid.high, symmetric=True)
    parts: list[int] = []
    for part, taps in split(weight.values, PARTITIONS[weight.values.shape[-1]]):
        stored = _as_stored(taps, depthwise=True)
        filters = _int8_kernel(e, node, weight, stored, axis=3, part=part.name)
        bias = _int32_bias(e, node, int8, weight, zero=bool(parts))
        out = e.tensor(f"{name}/{part.name}.int8", shape, whole)
        e.compute("DEPTHWISE_CONV_2D", [x, filters, bias], out, _dilated(e, part.dilation), version=3)
        options = e.writer.schema.DequantizeOptionsT()
        parts.append(e.compute("DEQUANTIZE", [out], (f"{name}/{part.name}", shape), options, version=2))
    _add_up(e, parts, e.define(node.outputs[0]))
    for reader in readers(int8.out):
        e.same(reader.outputs[0], node.outputs[0])
    e.note(INT8)


def _dilated(e: Emitter, dilation: tuple[int, int]) -> Any:
    options = _strides(e, _options(e.writer.schema, depthwise=True), dilations=dilation)
    options.padding = e.writer.schema.Padding.SAME
    return options


def _add_up(e: Emitter, parts: Sequence[int], out: int) -> None:
    """The sum of the parts of a depthwise."""
    total = parts[0]
    for part in parts[1:-1]:
        total = e.binary("ADD", total, part, f"{e.writer.name(out)}/sum")
    e.binary("ADD", total, parts[-1], out)
    e.note(SPLIT)
