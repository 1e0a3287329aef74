"""The TFLite file being written: where each value of the graph is in it, and the few ways to add to it.

Maps are NHWC from the first tensor to the last, so there is nothing to transpose: channels are the last axis of every
map, and kernels are stored the way TFLite's kernels read them.

A quantized graph's QuantizeLinear and DequantizeLinear are written when somebody reads what they give, and not before:
a layer that takes int8 reads the int8 tensor and needs no DEQUANTIZE, one that finds its scale at run time reads the
float in front of both and needs neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError
from edgecvx.export.tflite.writer import Quantization, Writer
from edgecvx.graph.grids import Grid
from edgecvx.graph.half import to_half
from edgecvx.graph.qdq import DEQUANTIZE, QUANTIZE, grid_of, output_grid, quantized_input
from edgecvx.graph.values import array_of, name_of, producer, readers, shape_of

Array = NDArray[Any]
Reduction = Literal["MEAN", "SUM"]
HALF = "float16-weights"


@dataclass(slots=True, kw_only=True)
class Emitter:
    """The file being written, and where each canonical value is in it."""

    writer: Writer
    half_kernels: bool
    split_depthwise: bool
    tensors: dict[str, int] = field(default_factory=dict)
    passes: list[str] = field(default_factory=list)

    def read(self, value: ir.Value | None) -> int:
        """The tensor that holds a value: one computed before, or a constant, stored channels last."""
        name = name_of(value)
        if value is not None and value.const_value is not None:
            return self.writer.constant(name, channels_last(array_of(value)))
        if name not in self.tensors:
            self._write_on_demand(value)
        return self.tensors[name]

    def define(self, value: ir.Value, grid: Grid | None = None) -> int:
        """A new tensor for a value, under the value's name; int8 where it has a grid."""
        name = name_of(value)
        self.tensors[name] = self.tensor(name, nhwc(shape_of(value)), grid)
        return self.tensors[name]

    def tensor(self, name: str, shape: Sequence[int], grid: Grid | None = None) -> int:
        """A new tensor of the file's own; int8 where it has a grid."""
        if grid is None:
            return self.writer.tensor(name, shape)
        quantization = Quantization(scales=(grid.scale,), zero_point=grid.zero_point)
        return self.writer.tensor(name, shape, "int8", quantization=quantization)

    def same(self, value: ir.Value, other: ir.Value) -> None:
        """A value that the file keeps in another one's tensor."""
        self.tensors[name_of(value)] = self.read(other)

    def note(self, name: str) -> None:
        """Remembers what was applied, once."""
        if name not in self.passes:
            self.passes.append(name)

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

    def reshape(self, x: int, target: int) -> int:
        """The same numbers in the same order under another tensor's shape; nothing is moved."""
        options = self.writer.schema.ReshapeOptionsT()
        options.newShape = np.asarray(self.writer.shape(target), dtype=np.int32)
        shape = self.writer.constant(f"shape{list(map(int, options.newShape))}", options.newShape)
        return self.compute("RESHAPE", [x, shape], target, options)

    def scalar(self, number: float) -> int:
        """A constant without axes."""
        return self.writer.constant(f"{number:.9g}", np.asarray(number, dtype=np.float32))

    def kernel(self, name: str, array: Array) -> int:
        """The weights of a float convolution, in the precision the file stores them in."""
        if not self.half_kernels:
            return self.writer.constant(name, array)
        half = to_half(name, array)
        self.note(HALF)
        stored = self.writer.constant(f"{name}.float16", half)
        options = self.writer.schema.DequantizeOptionsT()
        return self.compute("DEQUANTIZE", [stored], (name, array.shape), options, version=3)

    def bias(self, node: ir.Node) -> int:
        """A convolution's bias; zeros where the graph has none, because XNNPACK's older releases insist on one."""
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            return self.read(node.inputs[2])
        return self.zeros(shape_of(node.outputs[0])[1])

    def zeros(self, channels: int) -> int:
        """A bias that adds nothing."""
        return self.writer.constant(f"zeros{channels}", np.zeros(channels, dtype=np.float32))

    def _write_on_demand(self, value: ir.Value | None) -> None:
        """Writes the QUANTIZE or DEQUANTIZE that a value comes from."""
        node = producer(value)
        if value is None or node is None or node.op_type not in (QUANTIZE, DEQUANTIZE):
            raise ExportError(f"value {name_of(value)!r} is used before it is computed")
        source = node.inputs[0]
        if node.op_type == QUANTIZE and (stored := _already_on(source, grid_of(node))) is not None:
            self.same(value, stored)
            return
        x = self.read(source)
        if node.op_type == QUANTIZE:
            self.compute("QUANTIZE", [x], self.define(value, grid_of(node)), self.writer.schema.QuantizeOptionsT())
            return
        name, exact = name_of(value), name_of(value).removesuffix(".dequantized")
        own = name if exact in self.tensors else exact  # the layer computes int8: this is its canonical value
        self.tensors[own] = self.tensors[name] = self.tensor(own, nhwc(shape_of(value)))
        self.compute("DEQUANTIZE", [x], self.tensors[name], self.writer.schema.DequantizeOptionsT(), version=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8:
    """What a node takes and returns in int8: the values that are stored, and their grids."""

    source: ir.Value | None
    source_grid: Grid
    out: ir.Value
    out_grid: Grid


def int8_of(node: ir.Node) -> Int8 | None:
    """The int8 ends of a node, where the graph has grids for what it takes and for what it returns."""
    source, out_grid = quantized_input(node.inputs[0]), output_grid(node.outputs[0])
    below = producer(node.inputs[0])
    if source is None or below is None or out_grid is None:
        return None
    (quantize,) = readers(node.outputs[0])
    return Int8(source=below.inputs[0], source_grid=source[1], out=quantize.outputs[0], out_grid=out_grid)


def _already_on(value: ir.Value | None, grid: Grid) -> ir.Value | None:
    """The int8 value that this float was dequantized from, if on the same grid: quantizing it gives that again."""
    node = producer(value, DEQUANTIZE)
    if node is None or len(node.inputs) < 3 or grid_of(node) != grid:
        return None
    return node.inputs[0]


def nhwc(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape an NCHW value has in the file; a vector per picture stays as it is."""
    return (shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else tuple(shape)


def channels_last(array: Array) -> Array:
    """An NCHW constant as the file stores it; a vector stays as it is."""
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
