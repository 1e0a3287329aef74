"""The form ONNX Runtime's CPU provider runs fastest: pixels as the rows of a matrix.

Between two depthwise convolutions a block treats every pixel alone, so its tensors are kept as ``[B * H * W, C]``: a
1x1 convolution becomes ``Gemm``, a LayerNorm over channels becomes ``LayerNormalization`` over the last axis, and no
layout is converted in between, but for the few pixels of the last stage. Convolutions that look at neighbours stay
``Conv`` on ``[B, C, H, W]``; the Transpose on either side of them costs nothing of its own, because ONNX Runtime merges
it into the reordering that its blocked convolution kernels need anyway. What each choice is worth is in
``docs/onnx.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError
from edgecvx.export.onnx.form import FLOAT, HALF, Form
from edgecvx.graph.canonical import DOMAIN
from edgecvx.graph.values import array_of, attributes_of, is_constant, name_of, number, readers, shape_of
from edgecvx.graph.writer import Attributes

MANY_PIXELS = 64
"""In a batch, from where a 1x1 convolution is faster as a matrix product. Below, reading the weights is what takes the
time, and ONNX Runtime's blocked convolution does that better."""


@dataclass(slots=True, kw_only=True)
class RowTensor:
    """A canonical value in the new graph: as rows, as maps, or as both, whichever was asked for so far."""

    shape: tuple[int, ...]
    """Canonical: ``[B, C, H, W]`` or ``[B, C]``."""
    rows: ir.Value | None = None
    maps: ir.Value | None = None

    @property
    def pixels(self) -> int:
        """Of one picture."""
        return math.prod(self.shape[2:])

    @property
    def row_shape(self) -> tuple[int, int]:
        """``[B * H * W, C]``."""
        return self.shape[0] * self.pixels, self.shape[1]


class RowForm(Form):
    """Writes a canonical graph in rows."""

    PASS = "pixels-as-rows"

    def __init__(self, canonical: ir.Model, *, half: bool = False, taps: Sequence[str] = ()) -> None:
        self._tensors: dict[str, RowTensor] = {}
        self._factors: dict[str, ir.Value] = {}
        """Of a GRN whose multiplication was left to the weights of the layer after it."""
        super().__init__(canonical, half=half, taps=taps)

    # One rule per operation of the canonical graph

    def cast(self, node: ir.Node) -> None:
        """The door for bytes."""
        value, x = node.outputs[0], self._maps(name_of(node.inputs[0]))
        self._keep(value, maps=self._cast(x, self._type, self._inner(value, maps=True)))

    def conv(self, node: ir.Node) -> None:
        """A 1x1 convolution of many pixels is a product of rows with a matrix; anything else stays a convolution."""
        if _is_product(node):
            self._product(node, array_of(node.inputs[1])[:, :, 0, 0])
        else:
            inputs = [self._maps(name_of(node.inputs[0])), *map(self._parameter, node.inputs[1:])]
            self._map_op("Conv", inputs, attributes_of(node), node.outputs[0])

    def gemm(self, node: ir.Node) -> None:
        """The classifier; its weight keeps the checkpoint's ``[out, in]``."""
        inputs = [self._rows(name_of(node.inputs[0])), *map(self._parameter, node.inputs[1:])]
        self._row_op("Gemm", inputs, {"transB": 1}, node.outputs[0])

    def layer_norm(self, node: ir.Node) -> None:
        """One operation, together with the scale and the bias that no fold took."""
        channels, x = shape_of(node.outputs[0])[1], self._rows(name_of(node.inputs[0]))
        last, scale, bias = self._affine(node)
        inputs = [x, scale or self._constant(f"ones.{channels}", np.ones(channels)), *([bias] if bias else [])]
        # stash_type 1: mean and deviation in float32, whatever type the tensor has.
        attributes = {"axis": -1, "epsilon": number(node, "epsilon"), "stash_type": 1}
        self._row_op("LayerNormalization", inputs, attributes, last)

    def grn(self, node: ir.Node) -> None:
        """Statistics, one factor per channel, and its multiplication into the smaller matrix of the next product."""
        value, source = node.outputs[0], self._tensors[name_of(node.inputs[0])]
        x = self._rows(name_of(node.inputs[0]))
        factor = self._factor(node, source)
        if self._weights_are_smaller(node):
            self._passes["grn-on-weights"] = None
            self._factors[name_of(value)] = factor
            self._keep(value, rows=x)
        else:
            self._keep(value, rows=self._scaled(x, factor, source, self._inner(value)))

    def elementwise(self, node: ir.Node) -> None:
        """Gelu, Sigmoid, Add and Mul, of tensors or with a constant per channel, in the layout the tensors have."""
        tensors = [v for v in node.inputs if not is_constant(v)]
        in_maps = all(self._tensors[name_of(v)].rows is None for v in tensors)
        tensor, constant = (self._maps, self._parameter) if in_maps else (self._rows, self._vector)  # [1, C, 1, 1]
        operands = [constant(v) if is_constant(v) else tensor(name_of(v)) for v in node.inputs]
        (self._map_op if in_maps else self._row_op)(node.op_type, operands, attributes_of(node), node.outputs[0])

    def pool(self, node: ir.Node) -> None:
        """The mean over a picture's rows; in float32, because a float16 sum of many pixels overflows."""
        name, shape = name_of(node.outputs[0]), shape_of(node.outputs[0])
        source = self._tensors[name_of(node.inputs[0])]
        x = self._pictures(self._rows(name_of(node.inputs[0])), source, f"{name}.pictures")
        x = self._cast(x, FLOAT, f"{name}.float")
        single = shape[0] == 1
        own = self._inner(node.outputs[0])
        y = self._write.op(
            "ReduceMean",
            [x, self._write.integers(0 if single else 1)],
            {"keepdims": int(single)},
            name=own if self._type is FLOAT else f"{name}.mean",
            shape=shape[:2],
        )
        self._keep(node.outputs[0], rows=self._cast(y, self._type, own))

    def flatten(self, node: ir.Node) -> None:
        """Of one pixel per picture: its rows already are what is asked for."""
        value, rows = node.outputs[0], self._rows(name_of(node.inputs[0]))
        if name_of(value) in self._shown:
            self._row_op("Flatten", [rows], {"axis": 1}, value)
        else:
            self._keep(value, rows=rows)

    def softmax(self, node: ir.Node) -> None:
        """In float32: halves have no number for what is very unlikely, and there are few numbers here."""
        x, name = self._rows(name_of(node.inputs[0])), name_of(node.outputs[0])
        x, shape = self._cast(x, FLOAT, f"{name}.float"), shape_of(node.outputs[0])
        self._keep(node.outputs[0], rows=self._write.op("Softmax", [x], {"axis": 1}, name=name, shape=shape))

    RULES: ClassVar[Mapping[tuple[str, str], Callable[..., None]]] = MappingProxyType(
        {
            ("", "Cast"): cast,
            ("", "Conv"): conv,
            ("", "Gemm"): gemm,
            ("", "Softmax"): softmax,
            ("", "Gelu"): elementwise,
            ("", "Add"): elementwise,
            ("", "Mul"): elementwise,
            ("", "Sigmoid"): elementwise,
            ("", "GlobalAveragePool"): pool,
            ("", "Flatten"): flatten,
            (DOMAIN, "LayerNorm2d"): layer_norm,
            (DOMAIN, "Grn"): grn,
            (DOMAIN, "GrnL2"): grn,
        }
    )

    # Parts of the rules

    def _product(self, node: ir.Node, weight: NDArray[np.float32]) -> None:
        """``[pixels, in] x [out, in]^T + bias``, where the weights may carry the factor of the GRN before them."""
        name, below = name_of(node.outputs[0]), name_of(node.inputs[0])
        matrix = self._constant(name_of(node.inputs[1]), weight)
        if below in self._factors:
            factors = [matrix, self._factors[below]]
            matrix = self._write.op("Mul", factors, name=f"{name}.weight.scaled", shape=weight.shape, dtype=self._type)
        inputs = [self._rows(below), matrix, *map(self._parameter, node.inputs[2:])]
        self._row_op("Gemm", inputs, {"transB": 1}, node.outputs[0])

    def _factor(self, node: ir.Node, source: RowTensor) -> ir.Value:
        """``base + gamma * N`` per picture and channel, ``[1, C]`` or ``[B, 1, C]``.

        Written out, because ONNX Runtime has no fast kernel for ReduceL2 over rows. All of it is in float32: squares of
        activations pass 65504 where those pass 256, and the epsilon, around 1e-8, is zero in float16.
        """
        name, (batch, channels) = name_of(node.outputs[0]), source.shape[:2]
        x = self._cast(self._rows(name_of(node.inputs[0])), FLOAT, f"{name}.float")
        square = self._write.op("Mul", [x, x], name=f"{name}.square", shape=source.row_shape)
        square = self._pictures(square, source, f"{name}.square.pictures")
        shape = (1, channels) if batch == 1 else (batch, 1, channels)
        energy = self._over_pixels(square, f"{name}.energy", shape, mean=node.op_type == "Grn")
        return self._grn_factor(node, energy, per_channel=(channels,))

    def _shifted_mean(self, response: ir.Value, name: str, epsilon: float) -> ir.Value:
        """The mean over the channels, and the epsilon."""
        write, shape = self._write, (*shape_of(response)[:-1], 1)
        y = write.op("ReduceMean", [response, write.integers(-1)], {"keepdims": 1}, name=name, shape=shape)
        return write.op("Add", [y, self._epsilon(name, epsilon)], name=f"{name}.shifted", shape=shape)

    def _over_pixels(self, square: ir.Value, name: str, shape: tuple[int, ...], *, mean: bool) -> ir.Value:
        """The mean or the sum over the pixels of each picture.

        As a product with a row of equal numbers: on a CPU 1% of the whole network faster than a reduction. Not in a
        float16 file, which is for GPUs: they may shorten the factors of a product, and these must stay float32.
        """
        write, pixels = self._write, int(shape_of(square)[-2])
        if self._type is HALF:
            axis = write.integers(len(shape) - 2)
            kind = "ReduceMean" if mean else "ReduceSum"
            return write.op(kind, [square, axis], {"keepdims": 1}, name=name, shape=shape)
        share = 1.0 / pixels if mean else 1.0
        row = write.constant(f"{'mean' if mean else 'sum'}.{pixels}", np.full((1, pixels), share, np.float32))
        return write.op("MatMul", [row, square], name=name, shape=shape)

    def _weights_are_smaller(self, node: ir.Node) -> bool:
        """Whether scaling the next layer's weights is less work than scaling the activations.

        They have to be twice as small, because weights that change with the picture cannot be packed in advance; and a
        batch would need its own weights for each picture.
        """
        value = node.outputs[0]
        consumers = readers(value)
        if len(consumers) != 1 or not _is_product(consumers[0]) or name_of(value) in self._shown:
            return False
        batch, _, *picture = shape_of(value)
        return batch == 1 and 2 * shape_of(consumers[0].outputs[0])[1] <= math.prod(picture)

    def _scaled(self, x: ir.Value, factor: ir.Value, source: RowTensor, name: str) -> ir.Value:
        """Activations times the factor of their picture."""
        if source.shape[0] == 1:
            return self._write.op("Mul", [x, factor], name=name, shape=source.row_shape, dtype=self._type)
        pictures = self._pictures(x, source, f"{name}.pictures")
        y = self._write.op("Mul", [pictures, factor], name=f"{name}.scaled", shape=shape_of(pictures), dtype=self._type)
        return self._reshape(y, name, source.row_shape)

    # Layouts, types and names

    def _enter(self, value: ir.Value, x: ir.Value) -> None:
        self._keep(value, maps=x)

    def _keep(self, value: ir.Value, *, rows: ir.Value | None = None, maps: ir.Value | None = None) -> None:
        """Takes note of what stands for a value of the graph."""
        self._tensors[name_of(value)] = RowTensor(shape=shape_of(value), rows=rows, maps=maps)

    def _leave(self, name: str) -> ir.Value:
        return self._maps(name) if len(self._tensors[name].shape) == 4 else self._rows(name)

    def _rows(self, name: str) -> ir.Value:
        """A canonical value as ``[B * H * W, C]``."""
        t = self._tensors[name]
        if t.rows is None:
            t.rows = self._reshape(self._channels_last(name), f"{name}.rows", t.row_shape)
        return t.rows

    def _channels_last(self, name: str) -> ir.Value:
        """A canonical value that is there in maps alone, as ``[B, H, W, C]``; asked for once."""
        return self._transpose(self._maps(name), [0, 2, 3, 1], f"{name}.nhwc")

    def _maps(self, name: str) -> ir.Value:
        """A canonical value as ``[B, C, H, W]``."""
        t = self._tensors[name]
        if t.maps is None:
            if t.rows is None:
                raise ExportError(f"{name!r} is used before it is computed")
            batch, channels, height, width = t.shape
            x = self._reshape(t.rows, f"{name}.pixels", (batch, height, width, channels))
            own = name if name in self._shown and self._type is FLOAT else f"{name}.nchw"
            t.maps = self._transpose(x, [0, 3, 1, 2], own)
        return t.maps

    def _inner(self, value: ir.Value | None, *, maps: bool = False) -> str:
        """The canonical name, where no output of another layout or type has to carry it."""
        name = name_of(value)
        as_shown = self._type is FLOAT and (maps or value is None or len(shape_of(value)) == 2)
        return name if name not in self._shown or as_shown else f"{name}.inner"

    def _map_op(self, op_type: str, inputs: Sequence[ir.Value], attributes: Attributes, value: ir.Value) -> None:
        """Writes what replaces the operation that gave ``value``, in maps."""
        name = self._inner(value, maps=True)
        y = self._write.op(op_type, inputs, attributes, name=name, shape=shape_of(value), dtype=self._type)
        self._keep(value, maps=y)

    def _row_op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None,
        value: ir.Value,
        domain: str = "",
    ) -> None:
        """The same in rows."""
        shape = RowTensor(shape=shape_of(value)).row_shape
        y = self._write.op(
            op_type, inputs, attributes, name=self._inner(value), shape=shape, dtype=self._type, domain=domain
        )
        self._keep(value, rows=y)

    def _pictures(self, x: ir.Value, source: RowTensor, name: str) -> ir.Value:
        """Rows, told apart by picture: ``[B, H * W, C]``; of a single picture they stay as they are."""
        batch, channels = source.shape[:2]
        return x if batch == 1 else self._reshape(x, name, (batch, source.pixels, channels))

    def _reshape(self, x: ir.Value, name: str, shape: tuple[int, ...]) -> ir.Value:
        dtype = x.dtype or self._type
        return self._write.op("Reshape", [x, self._write.integers(*shape)], name=name, shape=shape, dtype=dtype)


def _is_product(node: ir.Node) -> bool:
    """Whether this is a 1x1 convolution to be written as a product of rows with a matrix."""
    if node.op_type != "Conv" or tuple(node.attributes["kernel_shape"].as_ints()) != (1, 1):
        return False
    batch, _, height, width = shape_of(node.outputs[0])
    return batch * height * width >= MANY_PIXELS
