"""ONNX files for TensorRT: standard operations, every precision written into the graph.

TensorRT compiles such a file on the device it will run on (``edgecvx build-engine``), as a strongly typed network: the
type of each tensor is the one in the file. So what has to stay float32 is said here, by ``Cast``, and what is INT8 by
QuantizeLinear and DequantizeLinear; no flag of the builder decides it. Why each form is the one it is, and where that
is known from, is in ``docs/tensorrt.md``; ``edgecvx.export.tensorrt.rules`` holds every file to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecvx.errors import ExportError
from edgecvx.export.base import Lowered, Options
from edgecvx.export.onnx.form import FLOAT, Form, lowered
from edgecvx.export.tensorrt.rules import hold
from edgecvx.graph.canonical import DOMAIN
from edgecvx.graph.qdq import QUANTIZE, is_quantized
from edgecvx.graph.values import array_of, attributes_of, constant_of, is_constant, name_of, number, shape_of
from edgecvx.graph.writer import Attributes
from edgecvx.spec import Precision

OPSET, IR_VERSION = 17, 8
"""The first opset with LayerNormalization, and the last one that TensorRT 8.6 reads."""
SUFFIX = ".tensorrt.onnx"
"""So that the file can lie beside the one of target onnx."""

STATISTICS = "squares of activations overflow float16, and the epsilon, around 1e-8, is zero in it"
IN_FLOAT32: Mapping[str, str] = MappingProxyType(
    {
        "LayerNormalization": "mean and deviation: squares of activations overflow float16 (stash_type 1)",
        "GRN statistics": STATISTICS,
        "GlobalAveragePool": "the pooled sum over a picture overflows float16",
    }
)
"""What an FP16 file computes in float32, and why."""
WHY_FLOAT: Mapping[str, str] = MappingProxyType(
    {
        "stem": "three channels: TensorRT has been seen to have no INT8 kernel for such a convolution, and the grid of "
        "a picture's bytes has a zero point",
        "LayerNorm2d": "mean and deviation of each pixel",
        "Grn": "sums of squares over a picture, and a factor that changes with the picture",
        "GrnL2": "sums of squares over a picture, and a factor that changes with the picture",
        "Gelu": "part of the convolution before it, which returns what it computes",
        "Sigmoid": "part of the convolution before it, which returns what it computes",
        "Add": "the residual sum carries every layer's result to the end",
        "GlobalAveragePool": "a sum over the picture",
    }
)
"""What an INT8 file computes in floats, and why."""


def lower(graph: ir.Model, options: Options) -> Lowered:
    """Writes a canonical graph, or a quantized one, as an ONNX file for TensorRT.

    The input is float32 (or uint8), outputs are float32, in every precision.

    Raises:
        ExportError: The graph's weights are not what the precision says, one does not fit into float16, or the result
            breaks a rule of TensorRT's.
        UsageError: A tap names no value of the graph, or one that is no float in the file.
    """
    if is_quantized(graph) is not options.precision.quantized:
        found = "int8" if is_quantized(graph) else "no int8"
        raise ExportError(
            f"a file for TensorRT in {options.precision.value} was asked for, but the graph has {found} weights"
        )
    half = options.precision.half
    form = TensorRTForm(graph, half=half, taps=options.taps)
    hold(form.model)
    return lowered(form.model, form.passes, _kept_float(graph, options.precision), suffix=SUFFIX)


def _kept_float(graph: ir.Model, precision: Precision) -> Mapping[str, str]:
    if precision.half:
        return IN_FLOAT32
    if not precision.quantized:
        return {}
    ops = {node.op_type for node in graph.graph}
    return {what: why for what, why in WHY_FLOAT.items() if what == "stem" or what in ops}


class TensorRTForm(Form):
    """Writes a graph for TensorRT.

    Tensors stay ``[B, C, H, W]``, as TensorRT's convolutions have them; a Transpose stands on either side of a
    LayerNormalization, which TensorRT moves to where its own formats change anyway.
    """

    PASS = "standard-operations"
    VERSIONS = OPSET, IR_VERSION

    def __init__(self, graph: ir.Model, *, half: bool = False, taps: Sequence[str] = ()) -> None:
        self._values: dict[str, ir.Value] = {}
        """Canonical name -> the value in the new graph."""
        super().__init__(graph, half=half, taps=taps)

    # One rule per operation of the quantized graph

    def cast(self, node: ir.Node) -> None:
        """The door for bytes."""
        value = node.outputs[0]
        self._values[name_of(value)] = self._cast(self._value(node.inputs[0]), self._type, self._inner(value))

    def plain(self, node: ir.Node) -> None:
        """Layers and what is between them, as they are; of the classifier's attributes the one that is not usual.

        A bias is float in every file: TensorRT refuses one in INT32.
        """
        attributes: Attributes = {"transB": 1} if node.op_type == "Gemm" else attributes_of(node)
        self._op(node.op_type, list(map(self._operand, node.inputs)), attributes, node.outputs[0])

    def gelu(self, node: ir.Node) -> None:
        """Written out: a chain of pointwise operations, which TensorRT fuses into the convolution before it."""
        x = self._value(node.inputs[0])
        tanh = node.attributes["approximate"].as_string() == "tanh"
        self._passes["gelu-written-out"] = None
        name = name_of(node.outputs[0])
        inner = self._tanh(x, name) if tanh else self._erf(x, name)
        gate = self._pointwise("Add", inner, self._scalar("gelu.one", 1.0), f"{name}.shifted")
        y = self._pointwise("Mul", x, gate, f"{name}.gated")
        self._op("Mul", [y, self._scalar("gelu.half", 0.5)], None, node.outputs[0])

    def _erf(self, x: ir.Value, name: str) -> ir.Value:
        y = self._pointwise("Div", x, self._scalar("gelu.sqrt2", math.sqrt(2.0)), f"{name}.scaled")
        return self._write.op("Erf", [y], name=f"{name}.erf", shape=shape_of(x), dtype=self._type)

    def _tanh(self, x: ir.Value, name: str) -> ir.Value:
        y = self._pointwise("Mul", x, x, f"{name}.square")
        y = self._pointwise("Mul", y, self._scalar("gelu.cubic", 0.044715), f"{name}.cubic")
        y = self._pointwise("Add", y, self._scalar("gelu.one", 1.0), f"{name}.slope")
        y = self._pointwise("Mul", x, y, f"{name}.bent")
        y = self._pointwise("Mul", y, self._scalar("gelu.scale", math.sqrt(2.0 / math.pi)), f"{name}.scaled")
        return self._write.op("Tanh", [y], name=f"{name}.tanh", shape=shape_of(x), dtype=self._type)

    def layer_norm(self, node: ir.Node) -> None:
        """LayerNormalization over the last axis, with the scale and the bias that no fold took.

        Scale and bias are always written: TensorRT's layer has both.
        """
        value, scale, bias = self._affine(node)
        name, channels = name_of(value), shape_of(value)[1]
        x = self._transpose(self._value(node.inputs[0]), [0, 2, 3, 1], f"{name}.nhwc")
        scale = scale or self._constant(f"ones.{channels}", np.ones(channels))
        bias = bias or self._constant(f"zeros.{channels}", np.zeros(channels))
        # stash_type 1: mean and deviation in float32, whatever type the tensor has.
        attributes: Attributes = {"axis": -1, "epsilon": number(node, "epsilon"), "stash_type": 1}
        y = self._write.op(
            "LayerNormalization", [x, scale, bias], attributes, name=f"{name}.norm", shape=shape_of(x), dtype=self._type
        )
        self._op("Transpose", [y], {"perm": [0, 3, 1, 2]}, value)
        self._passes["layer-normalization"] = None

    def grn(self, node: ir.Node) -> None:
        """``x * (base + gamma * N)``, whose factor is computed in float32 in every file.

        Identity 3: the mean of squares in place of their sum. In float16 both would overflow, the sum by far.
        """
        x, name = self._value(node.inputs[0]), name_of(node.outputs[0])
        batch, channels = shape_of(x)[:2]
        shape = (batch, channels, 1, 1)
        exact = self._cast(x, FLOAT, f"{name}.float")
        reduce = "ReduceMean" if node.op_type == "Grn" else "ReduceSum"
        square = self._write.op("Mul", [exact, exact], name=f"{name}.square", shape=shape_of(x))
        energy = self._reduced(reduce, square, [2, 3], f"{name}.energy", shape)
        factor = self._grn_factor(node, energy, per_channel=(1, channels, 1, 1))
        self._op("Mul", [x, factor], None, node.outputs[0])
        self._passes["grn-in-float32"] = None

    def _shifted_mean(self, response: ir.Value, name: str, epsilon: float) -> ir.Value:
        shape = (shape_of(response)[0], 1, 1, 1)
        mean = self._reduced("ReduceMean", response, [1], name, shape)
        shifted = f"{name.removesuffix('.mean')}.shifted"
        return self._write.op("Add", [mean, self._epsilon(name, epsilon)], name=shifted, shape=shape)

    def _reduced(self, op_type: str, x: ir.Value, axes: list[int], name: str, shape: Sequence[int]) -> ir.Value:
        """In opset 17 ReduceMean has its axes as an attribute, ReduceSum as an input."""
        if op_type == "ReduceSum":
            inputs, attributes = [x, self._write.integers(*axes)], {"keepdims": 1}
            return self._write.op(op_type, inputs, attributes, name=name, shape=shape)
        return self._write.op(op_type, [x], {"axes": axes, "keepdims": 1}, name=name, shape=shape)

    def pool(self, node: ir.Node) -> None:
        """The mean over a picture, in float32, because a float16 sum of many pixels overflows."""
        value = node.outputs[0]
        x = self._cast(self._value(node.inputs[0]), FLOAT, f"{name_of(value)}.float")
        own = self._inner(value)
        name = own if self._type is FLOAT else f"{own}.mean"
        y = self._write.op("GlobalAveragePool", [x], name=name, shape=shape_of(value))
        self._values[name_of(value)] = self._cast(y, self._type, own)

    def softmax(self, node: ir.Node) -> None:
        """In float32: halves have no number for what is very unlikely, and there are few numbers here."""
        value = node.outputs[0]
        x = self._cast(self._value(node.inputs[0]), FLOAT, f"{name_of(value)}.float")
        y = self._write.op("Softmax", [x], {"axis": 1}, name=name_of(value), shape=shape_of(value))
        self._values[name_of(value)] = y

    def quantize(self, node: ir.Node) -> None:
        """Q or DQ, with the zero points that the quantized graph leaves out: TensorRT's parser wants three inputs."""
        source, scale, *rest = node.inputs
        constant = is_constant(source)
        x = self._write.constant(name_of(source), constant_of(source)) if constant else self._value(source)
        numbers = array_of(scale)
        zero_name = name_of(rest[0]) if rest else f"{name_of(scale).removesuffix('.scale')}.zero_point"
        zeros = constant_of(rest[0]) if rest else np.zeros(numbers.shape, np.int8)
        inputs = [x, self._write.constant(name_of(scale), numbers), self._write.constant(zero_name, zeros)]
        value = node.outputs[0]
        dtype = ir.DataType.INT8 if node.op_type == QUANTIZE else FLOAT
        attributes = {"axis": 0} if constant else None
        y = self._write.op(
            node.op_type, inputs, attributes, name=self._inner(value), shape=shape_of(value), dtype=dtype
        )
        self._values[name_of(value)] = y

    RULES: ClassVar[Mapping[tuple[str, str], Callable[..., None]]] = MappingProxyType(
        {
            ("", "Cast"): cast,
            ("", "Conv"): plain,
            ("", "Gemm"): plain,
            ("", "Softmax"): softmax,
            ("", "Gelu"): gelu,
            ("", "Add"): plain,
            ("", "Mul"): plain,
            ("", "Sigmoid"): plain,
            ("", "Flatten"): plain,
            ("", "GlobalAveragePool"): pool,
            ("", "QuantizeLinear"): quantize,
            ("", "DequantizeLinear"): quantize,
            (DOMAIN, "LayerNorm2d"): layer_norm,
            (DOMAIN, "Grn"): grn,
            (DOMAIN, "GrnL2"): grn,
        }
    )

    # Values, types and names

    def _enter(self, value: ir.Value, x: ir.Value) -> None:
        self._values[name_of(value)] = x

    def _leave(self, name: str) -> ir.Value:
        return self._values[name]

    def _inner(self, value: ir.Value) -> str:
        """The canonical name, where no output of another type has to carry it."""
        name = name_of(value)
        return f"{name}.inner" if self._type is not FLOAT and name in self._shown else name

    def _value(self, value: ir.Value | None) -> ir.Value:
        name = name_of(value)
        if name not in self._values:
            raise ExportError(f"{name!r} is used before it is computed")
        return self._values[name]

    def _operand(self, value: ir.Value | None) -> ir.Value:
        """A tensor, weights behind their DequantizeLinear, or a constant."""
        return self._parameter(value) if is_constant(value) else self._value(value)

    def _scalar(self, name: str, value: float) -> ir.Value:
        return self._constant(name, np.array(value, np.float32))

    def _pointwise(self, op_type: str, a: ir.Value, b: ir.Value, name: str) -> ir.Value:
        return self._write.op(op_type, [a, b], name=name, shape=shape_of(a), dtype=self._type)

    def _op(self, op_type: str, inputs: Sequence[ir.Value], attributes: Attributes | None, value: ir.Value) -> None:
        """Writes what replaces the operation that gave ``value``."""
        self._values[name_of(value)] = self._write.op(
            op_type, inputs, attributes, name=self._inner(value), shape=shape_of(value), dtype=self._type
        )
