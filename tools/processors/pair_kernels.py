"""Which kernels of the runtimes add exactly, on the processor this runs on.

    python pair_kernels.py

Prints JSON: for each kernel the largest error of a sum, as a part of the largest sum: ``within``, with every pair of
weights at its limit, and ``over``, with 127 beside 127. Activations are the largest there are, or 0 and the largest at
random. One layer a model, in every form our files have: whatever a kernel pairs, it shows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecvx.board.engines.onnxruntime import import_onnxruntime
from edgecvx.board.engines.openvino import import_openvino, properties
from edgecvx.graph.pairs import PairOrder, pairs_of

Array = NDArray[Any]
Kernel = Callable[["Layer", Array, Array], Array]
"""A layer, its int8 weights and uint8 activations -> the sums, as floats."""
CHANNELS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer; a product has a kernel of 1, a depthwise convolution one input channel per group."""

    name: str
    inputs: int
    kernel: int = 1
    stride: int = 1
    size: int = 8
    """Pixels of the input in either direction; 1 for rows of a product."""
    rows: int = 0
    """Of a product of matrices; 0 for a convolution."""
    depthwise: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weights."""
        if self.rows:
            return CHANNELS, self.inputs
        return (
            (self.inputs, 1, self.kernel, self.kernel)
            if self.depthwise
            else (CHANNELS, self.inputs, self.kernel, self.kernel)
        )

    @property
    def pads(self) -> int:
        """Around the picture: so that kernels that overlap lie on every pixel."""
        return self.kernel // 2 if self.kernel > self.stride else 0


PRODUCTS = tuple(
    Layer(name=f"{rows} rows of {k}", inputs=k, rows=rows) for rows in (1, 5, 64) for k in (13, 48, 384, 390)
)
CONVOLUTIONS = (
    Layer(name="1x1 of 13", inputs=13),
    Layer(name="1x1 of 48", inputs=48),
    Layer(name="downsample of 8", inputs=8, kernel=2, stride=2),
    Layer(name="downsample of 7", inputs=7, kernel=2, stride=2),
    Layer(name="stem 4x4", inputs=3, kernel=4, stride=4, size=32),
    Layer(name="overlapping stem 7x7", inputs=3, kernel=7, stride=4, size=32),
    Layer(name="overlapping stem 3x3", inputs=6, kernel=3, stride=2, size=16),
)
DEPTHWISE = tuple(
    Layer(name=f"depthwise {k}x{k} of {c}", inputs=c, kernel=k, size=14, depthwise=True)
    for k, c in ((3, 40), (5, 40), (7, 40), (7, 13), (7, 64), (9, 16))
)


def weights(layer: Layer, order: PairOrder, *, over: bool) -> Array:
    """Pairs of one sign at the limit, or over it; what has no neighbour, and all of a depthwise kernel, is 127."""
    draw = np.random.default_rng(0)
    values = np.full((layer.shape[0], int(np.prod(layer.shape[1:]))), 127)
    if not over and not layer.depthwise:
        share = draw.integers(1, 128, len(values))  # the same for all pairs: a place may stand in two
        for first, second in pairs_of(layer.shape, order):
            if values[0, first] == 127:
                values[:, first] = share
            values[:, second] = 128 - values[:, first]
    return np.asarray(values * draw.choice([-1, 1], (len(values), 1)), np.int8).reshape(layer.shape)


def activations(layer: Layer) -> Iterator[Array]:
    """The largest, and the largest or nothing at random."""
    shape = (layer.rows, layer.inputs) if layer.rows else (1, layer.inputs, layer.size, layer.size)
    yield np.full(shape, 255, np.uint8)
    yield np.asarray(np.random.default_rng(1).integers(0, 2, shape) * 255, np.uint8)


def exact(layer: Layer, values: Array, x: Array) -> Array:
    """The sums, in int64."""
    w, a = values.astype(np.int64), x.astype(np.int64)
    if layer.rows:
        return np.asarray(a @ w.reshape(len(w), -1).T)
    k, s, p = layer.kernel, layer.stride, layer.pads
    padded = np.pad(a[0], ((0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))[:, ::s, ::s]
    if layer.depthwise:
        return np.asarray(np.einsum("chwij,cij->chw", windows, w[:, 0]))
    return np.asarray(np.einsum("chwij,ocij->ohw", windows, w))


def onnx_product(layer: Layer, values: Array, x: Array) -> Array:
    """``MatMulIntegerToFloat``, as an INT8 file in rows has it."""
    one = onnx.numpy_helper.from_array(np.array(1, np.float32), "one")
    return _onnx(_contrib("MatMulIntegerToFloat", ["x", "w", "one", "one"]), [one], values.T, x, len(values))


def onnx_dynamic(layer: Layer, values: Array, x: Array) -> Array:
    """``DynamicQuantizeMatMul``, which finds the grid of its input: the bytes they were."""
    one = onnx.numpy_helper.from_array(np.array(1, np.float32), "one")
    return _onnx(
        _contrib("DynamicQuantizeMatMul", ["x", "w", "one"]), [one], values.T, x.astype(np.float32), len(values)
    )


def onnx_conv(layer: Layer, values: Array, x: Array) -> Array:
    """``QLinearConv`` with channels last, whose output has 255 steps for the largest sum of any channel."""
    step = 255.0 * np.abs(values.astype(np.int64)).reshape(len(values), -1).sum(axis=1).max() / 127.0
    constants: dict[str, Array] = {
        "scale": np.array(1, np.float32),
        "zero": np.array(0, np.uint8),
        "scales": np.ones(len(values), np.float32),
        "zeros": np.zeros(len(values), np.int8),
        "step": np.array(step, np.float32),
        "middle": np.array(128, np.uint8),
    }
    node = _contrib(
        "QLinearConv",
        ["x", "scale", "zero", "w", "scales", "zeros", "step", "middle"],
        kernel_shape=[layer.kernel] * 2,
        strides=[layer.stride] * 2,
        pads=[layer.pads] * 4,
        group=layer.inputs if layer.depthwise else 1,
        channels_last=1,
    )
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    y = _onnx(node, tensors, values, np.ascontiguousarray(x.transpose(0, 2, 3, 1)), len(values))
    return np.asarray((y[0].transpose(2, 0, 1).astype(np.float64) - 128) * step)


def _contrib(op: str, inputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return onnx.helper.make_node(op, inputs, ["y"], domain="com.microsoft", **attributes)


def _onnx(node: onnx.NodeProto, constants: list[onnx.TensorProto], values: Array, x: Array, channels: int) -> Array:
    make, types = onnx.helper, onnx.TensorProto
    kind = types.UINT8 if node.op_type == "QLinearConv" else types.FLOAT
    graph = make.make_graph(
        [node],
        "kernel",
        [make.make_tensor_value_info("x", onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [make.make_tensor_value_info("y", kind, None)],
        [*constants, onnx.numpy_helper.from_array(np.ascontiguousarray(values), "w")],
    )
    opsets = [make.make_opsetid("", 20), make.make_opsetid("com.microsoft", 1)]
    rt = import_onnxruntime()
    options = rt.SessionOptions()
    options.intra_op_num_threads = 1
    model = make.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    session = rt.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def openvino_layer(layer: Layer, values: Array, x: Array) -> Array:
    """``FakeQuantize`` of 256 levels, int8 weights and the layer, as our IRs have them."""
    ov = import_openvino()
    from openvino import opset13 as ops

    parameter = ops.parameter(list(x.shape), np.float32)
    ends = [ops.constant(np.array(end, np.float32)) for end in (0.0, 255.0)]
    source = ops.fake_quantize(parameter, *ends, *ends, 256)
    integers = values[:, None] if layer.depthwise else values
    ones = np.ones((len(values), *[1] * (integers.ndim - 1)), np.float32)
    weight = ops.multiply(ops.convert(ops.constant(np.ascontiguousarray(integers)), "f32"), ops.constant(ones))
    geometry = ([layer.stride] * 2, [layer.pads] * 2, [layer.pads] * 2, [1, 1])
    if layer.rows:
        y = ops.matmul(source, weight, False, True)
        y = ops.add(y, ops.constant(np.zeros((1, len(values)), np.float32)))
    else:
        y = (ops.group_convolution if layer.depthwise else ops.convolution)(source, weight, *geometry)
        y = ops.add(y, ops.constant(np.zeros((1, len(values), 1, 1), np.float32)))
    model = ov.Model([ops.result(y)], [parameter], "kernel")
    compiled = ov.Core().compile_model(model, "CPU", properties(threads=1, precision="f32"))
    found = np.array(compiled([x.astype(np.float32)])[0])
    return found if layer.rows else found[0]


KERNELS: dict[str, tuple[Kernel, tuple[Layer, ...], PairOrder]] = {
    "onnxruntime MatMulIntegerToFloat": (onnx_product, PRODUCTS, PairOrder.ROWS),
    "onnxruntime DynamicQuantizeMatMul": (onnx_dynamic, PRODUCTS, PairOrder.ROWS),
    "onnxruntime QLinearConv": (onnx_conv, CONVOLUTIONS + DEPTHWISE, PairOrder.ROWS),
    "openvino": (openvino_layer, PRODUCTS + CONVOLUTIONS + DEPTHWISE, PairOrder.CHANNELS),
}


def error(kernel: Kernel, layer: Layer, values: Array) -> float:
    """The largest over all activations, as a part of the largest sum."""
    worst = 0.0
    for x in activations(layer):
        expected = exact(layer, values, x)
        worst = max(worst, float(np.abs(kernel(layer, values, x) - expected).max() / np.abs(expected).max()))
    return worst


def main() -> None:
    """Tries every kernel."""
    found = {
        f"{name}, {layer.name}": {
            "within": error(kernel, layer, weights(layer, order, over=False)),
            "over": error(kernel, layer, weights(layer, order, over=True)),
            "depthwise": layer.depthwise,
        }
        for name, (kernel, layers, order) in KERNELS.items()
        for layer in layers
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
