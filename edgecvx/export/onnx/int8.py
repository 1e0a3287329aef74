"""INT8 in rows: the quantized graph in the operations ONNX Runtime's CPU provider computes in integers.

Every layer whose kernel does not overlap is a product of rows with a matrix: a 1x1 convolution as it is, the stem and
the downsampling once the pixels under the kernel stand side by side, which they do as bytes. ``MatMulIntegerToFloat``
takes uint8 rows and returns floats with scale and bias applied, so nothing but the input is ever rounded. What overlaps
(the depthwise convolution) is ``QLinearConv`` where its output is quantized, and float where it is not.

Activations are uint8, because that is what VNNI multiplies with int8 weights: the plan's grid, shifted by 128, which
changes no number it stands for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError
from edgecvx.export.onnx.rows import MANY_PIXELS, RowForm, RowTensor
from edgecvx.graph.canonical import DOMAIN as NETWORK
from edgecvx.graph.grids import BYTES, LOWEST, Grid, Weight, bias_int32
from edgecvx.graph.qdq import QUANTIZE, grid_of, output_grid, quantized_input, weight_of
from edgecvx.graph.values import LAYERS, array_of, attributes_of, name_of, number, producer, readers, shape_of
from edgecvx.graph.writer import CONTRIB

BYTE = ir.DataType.UINT8

GRN = "sums of squares over a picture, and a factor that changes with the picture, which no constant scale holds"
WHY_FLOAT: Mapping[str, str] = MappingProxyType(
    {
        "LayerNorm2d": "mean and deviation of each pixel: no integer kernel, and its rounding would reach every layer",
        "Grn": GRN,
        "GrnL2": GRN,
        "Gelu": "no integer kernel; written with tanh, within 5e-4 of the exact one: a fraction of a step of INT8",
        "Sigmoid": "SiLU's product with it would be rounded twice",
        "Add": "the residual sum carries every layer's result to the end",
        "GlobalAveragePool": "a sum over the picture, a thousandth of the time",
    }
)
"""What the canonical operations say of themselves in the manifest."""
FLOAT_CONV = "float convolution"
OVERLAPS = "kernels that overlap: in INT8 they are slower here than in float, and have to round their output"


class IntegerRowForm(RowForm):
    """Writes a quantized graph in rows; ``kept_float`` tells what stays float, and why."""

    def __init__(self, quantized: ir.Model, *, taps: Sequence[str] = ()) -> None:
        self.kept_float = {n.op_type: WHY_FLOAT[n.op_type] for n in quantized.graph if n.op_type in WHY_FLOAT}
        self._names: dict[str, str] = {}
        """Of dequantized values that stand for the one before the rounding, which no integer kernel shows."""
        self._vectors: dict[str, ir.Value] = {}
        super().__init__(quantized, taps=taps)

    # The rules that differ

    def cast(self, node: ir.Node) -> None:
        """Bytes that are quantized at once stay bytes."""
        name, read_by = name_of(node.outputs[0]), readers(node.outputs[0])
        if name not in self._shown and all(r.op_type == QUANTIZE and grid_of(r) == BYTES for r in read_by):
            self._tensors[name] = self._tensors[name_of(node.inputs[0])]
            self._passes["bytes-into-the-stem"] = None
        else:
            super().cast(node)

    def layer(self, node: ir.Node) -> None:
        """A convolution or the classifier: in integers where there is a kernel for it."""
        weight, source = weight_of(node.inputs[1]), quantized_input(node.inputs[0])
        if weight is not None and _has_no_overlap(node):
            if source is None:
                self._dynamic_product(node, weight)
            else:
                self._integer_product(node, weight)
        elif weight is not None and source is not None and output_grid(node.outputs[0]) is not None:
            self._integer_conv(node, weight, source[1])
        else:
            if node.op_type == "Conv":
                self.kept_float[FLOAT_CONV] = OVERLAPS
            (super().gemm if node.op_type == "Gemm" else super().conv)(node)

    def layer_norm(self, node: ir.Node) -> None:
        """Pixels as channels of an InstanceNormalization: its kernel is vectorized, LayerNormalization's is not."""
        _, scale, bias = self._affine(node)
        value = node.outputs[0]
        pixels, channels = RowTensor(shape=shape_of(value)).row_shape
        if scale is not None or bias is not None or pixels < MANY_PIXELS:
            super().layer_norm(node)
            return
        name = name_of(value)
        source = name_of(node.inputs[0])
        x = self._tensors[source].rows or self._channels_last(source)
        x = self._reshape(x, f"{name}.channels", (1, pixels, channels))
        inputs = [x, self._filled("ones", 1.0, pixels), self._filled("zeros", 0.0, pixels)]
        y = self._write.op(
            "InstanceNormalization",
            inputs,
            {"epsilon": number(node, "epsilon")},
            name=f"{name}.wide",
            shape=shape_of(x),
        )
        self._keep(value, rows=self._reshape(y, self._inner(value), (pixels, channels)))
        self._passes["norm-of-pixels-as-channels"] = None

    def gelu(self, node: ir.Node) -> None:
        """Written with tanh, which is faster; it differs by a fraction of what quantizing its result rounds away."""
        self._passes["tanh-gelu"] = None
        self._row_op("Gelu", [self._rows(name_of(node.inputs[0]))], {"approximate": "tanh"}, node.outputs[0])

    def quantize(self, node: ir.Node) -> None:
        """To uint8, in the layout the tensor has; bytes already are."""
        name, source = name_of(node.outputs[0]), self._tensors[name_of(node.inputs[0])]
        is_bytes = source.rows is None and source.maps is not None and source.maps.dtype is BYTE
        self._tensors[name] = dataclasses.replace(source) if is_bytes else self._on_grid(node, source, name, BYTE)

    def dequantize(self, node: ir.Node) -> None:
        """Back to float for those who compute in float; weights, and what integer kernels read, need none."""
        value = node.outputs[0]
        name, read_by = name_of(value), readers(value)
        unread = bool(read_by) and all(map(_is_integer, read_by)) and name not in self._shown
        if weight_of(value) is not None or unread:
            return
        source, exact = self._tensors[name_of(node.inputs[0])], self._names.get(name, name)
        called = name if name in self._shown else exact
        own = called if len(source.shape) == 2 or called not in self._shown else f"{called}.inner"
        tensor = self._on_grid(node, source, own, ir.DataType.FLOAT)
        self._tensors[exact], self._tensors[name] = dataclasses.replace(tensor), tensor

    RULES: ClassVar[Mapping[tuple[str, str], Callable[..., None]]] = MappingProxyType(
        {
            **RowForm.RULES,
            ("", "Cast"): cast,
            ("", "Conv"): layer,
            ("", "Gemm"): layer,
            (NETWORK, "LayerNorm2d"): layer_norm,
            ("", "Gelu"): gelu,
            ("", "QuantizeLinear"): quantize,
            ("", "DequantizeLinear"): dequantize,
        }
    )

    # The kernels

    def _integer_product(self, node: ir.Node, weight: Weight) -> None:
        """uint8 rows times int8 matrix, in int32, then to float with scale and bias."""
        dequantize = _producer(node.inputs[0])
        x, matrix = self._under_kernel(node, name_of(dequantize.inputs[0]), weight.values)
        scale, zero_point = self._grid(dequantize)
        weights, scales = self._matrix(node, matrix)
        self._integer_op("MatMulIntegerToFloat", [x, weights, scale, scales, zero_point, None], node)

    def _dynamic_product(self, node: ir.Node, weight: Weight) -> None:
        """The same with a grid found at run time, one for the whole tensor."""
        x, matrix = self._under_kernel(node, name_of(node.inputs[0]), weight.values)
        self._integer_op("DynamicQuantizeMatMul", [x, *self._matrix(node, matrix), None], node)

    def _integer_conv(self, node: ir.Node, weight: Weight, grid: Grid) -> None:
        """uint8 maps, channels last, which rows are but for their shape; the output comes on its grid at once."""
        value, dequantize = node.outputs[0], _producer(node.inputs[0])
        quantize = readers(value)[0]
        name, result = name_of(quantize.outputs[0]), name_of(value)
        bias = array_of(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(len(weight.scales), np.float32)
        (batch, channels, height, width), source = shape_of(value), self._tensors[name_of(dequantize.inputs[0])]
        b, c, h, w = source.shape
        inputs = [
            self._reshape(self._rows(name_of(dequantize.inputs[0])), f"{result}.input.pixels", (b, h, w, c)),
            *self._grid(dequantize),
            *self._matrix(node, weight.values),
            self._write.constant("int8.0", np.array(0, np.int8)),
            *self._grid(quantize),
            self._write.constant(f"{result}.bias.int32", bias_int32(bias, grid.scale, weight.scales)),
        ]
        y = self._write.op(
            "QLinearConv",
            inputs,
            {**attributes_of(node), "channels_last": 1},
            name=name,
            shape=(batch, height, width, channels),
            dtype=BYTE,
            domain=CONTRIB,
        )
        self._keep(quantize.outputs[0], rows=self._reshape(y, f"{name}.rows", (batch * height * width, channels)))
        self._absorbed.add(name)
        self._names.update({name_of(reader.outputs[0]): result for reader in readers(quantize.outputs[0])})

    # Parts

    def _under_kernel(self, node: ir.Node, source: str, weight: NDArray[np.int8]) -> tuple[ir.Value, NDArray[np.int8]]:
        """The rows of a product, one per position of the kernel, and the matrix ``[in, out]`` in their order."""
        if weight.ndim == 2 or weight.shape[-1] == 1:
            return self._rows(source), weight.reshape(len(weight), -1).T
        name, tensor = name_of(node.outputs[0]), self._tensors[source]
        batch, channels, height, width = tensor.shape
        rows, size = batch * height // weight.shape[2], weight.shape[2]
        out = (rows * (width // size), weight[0].size)
        if tensor.rows is not None:  # [row of kernels, kh, kernel, kw * C]: kh and the kernel change places
            x = self._swapped(tensor.rows, f"{name}.lines", (rows, size, width // size, size * channels))
            return self._reshape(x, f"{name}.patches", out), weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
        # Maps: first kernels' rows before channels, long runs; then [C * kh, width] turned, as a matrix of bytes.
        x = self._swapped(self._maps(source), f"{name}.lines", (batch, channels, height // size, size * width))
        x = self._reshape(x, f"{name}.strips", (rows, channels * size, width))
        x = self._transpose(x, [0, 2, 1], f"{name}.turned")
        return self._reshape(x, f"{name}.patches", out), weight.transpose(3, 1, 2, 0).reshape(-1, len(weight))

    def _swapped(self, x: ir.Value, name: str, shape: tuple[int, int, int, int]) -> ir.Value:
        """Four axes, the second and the third exchanged."""
        return self._transpose(self._reshape(x, f"{name}.apart", shape), [0, 2, 1, 3], name)

    def _matrix(self, node: ir.Node, values: NDArray[np.int8]) -> tuple[ir.Value, ir.Value]:
        """Weights in the given form, and their scales, under their names in the quantized graph."""
        weights, scales = _producer(node.inputs[1]).inputs[:2]
        return self._write.constant(name_of(weights), values), self._write.constant(name_of(scales), array_of(scales))

    def _integer_op(self, op_type: str, inputs: Sequence[ir.Value | None], node: ir.Node) -> None:
        """Writes a product that returns floats; the layer's bias comes last, after the zero point of the weights."""
        inputs = [*inputs, *map(self._parameter, node.inputs[2:])]
        self._row_op(op_type, inputs, None, node.outputs[0], CONTRIB)
        self._passes["integer-products"] = None

    def _filled(self, word: str, number: float, length: int) -> ir.Value:
        """A constant vector of equal numbers, which ONNX Runtime writes out when it opens the file."""
        name = f"{word}.{length}"
        if name not in self._vectors:
            attribute = ir.tensor(np.array([number], np.float32))
            inputs = [self._write.integers(length)]
            self._vectors[name] = self._write.op(
                "ConstantOfShape", inputs, {"value": attribute}, name=name, shape=[length]
            )
        return self._vectors[name]

    def _shifted_mean(self, response: ir.Value, name: str, epsilon: float) -> ir.Value:
        """As a product with a column of equal numbers, whose bias is the epsilon."""
        *pictures, channels = shape_of(response)
        if len(pictures) > 1:
            return super()._shifted_mean(response, name, epsilon)
        column = self._write.constant(f"mean.channels.{channels}", np.full((channels, 1), 1.0 / channels, np.float32))
        inputs = [response, column, self._epsilon(name, epsilon)]
        return self._write.op("Gemm", inputs, name=f"{name}.shifted", shape=(*pictures, 1))

    def _on_grid(self, node: ir.Node, source: RowTensor, name: str, dtype: ir.DataType) -> RowTensor:
        """Q or DQ of the same grid, for uint8, in the layout the tensor has."""
        x = source.rows or source.maps
        y = self._write.op(node.op_type, [x, *self._grid(node)], name=name, shape=shape_of(x), dtype=dtype)
        return RowTensor(shape=source.shape, rows=y if source.rows else None, maps=None if source.rows else y)

    def _grid(self, node: ir.Node) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point of a Q or DQ; the zero point as uint8, 128 higher."""
        grid, names = grid_of(node), [name_of(v) for v in node.inputs[1:3]]
        return (
            self._write.constant(names[0], np.array(grid.scale, np.float32)),
            self._write.constant(names[1], np.array(grid.zero_point - LOWEST, np.uint8)),
        )

    def _parameter(self, value: ir.Value | None) -> ir.Value:
        """Weights of a layer that is computed in float are float; their numbers stay those of INT8."""
        weight = weight_of(value)
        return super()._parameter(value) if weight is None else self._constant(name_of(value), weight.dequantize())

    def _weights_are_smaller(self, node: ir.Node) -> bool:
        """Packed int8 weights are constants: GRN's factor goes on the activations."""
        reads_integers = any(weight_of(reader.inputs[1]) is not None for reader in readers(node.outputs[0]))
        return not reads_integers and super()._weights_are_smaller(node)


def _is_integer(node: ir.Node) -> bool:
    """Whether this is a layer that reads integers."""
    if node.op_type not in LAYERS or weight_of(node.inputs[1]) is None:
        return False
    return _has_no_overlap(node) or output_grid(node.outputs[0]) is not None


def _has_no_overlap(node: ir.Node) -> bool:
    """Whether a layer reads every number of its input once: then it is a product of rows with a matrix."""
    if node.op_type == "Gemm":
        return True
    kernel, strides, pads = (list(node.attributes[key].as_ints()) for key in ("kernel_shape", "strides", "pads"))
    size_in, size_out = shape_of(node.inputs[0])[2:], shape_of(node.outputs[0])[2:]
    return (
        node.attributes["group"].as_int() == 1
        and kernel == strides == kernel[:1] * len(kernel)
        and not any(pads)
        and all(k * out == whole for k, out, whole in zip(kernel, size_out, size_in, strict=True))
    )


def _producer(value: ir.Value | None) -> ir.Node:
    node = producer(value)
    if node is None:
        raise ExportError(f"{name_of(value)!r} should be computed by a node and is not")
    return node
