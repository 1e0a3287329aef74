"""What the ONNX forms share: a rule for each operation of the graph, floats of one type, and outputs by name."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import UsageError
from edgecvx.export.base import Lowered
from edgecvx.graph.half import is_added, to_half
from edgecvx.graph.qdq import QUANTIZE, weight_of
from edgecvx.graph.values import array_of, check_taps, is_constant, name_of, number, readers, shape_of, spec_of
from edgecvx.graph.writer import VERSIONS, Writer, check_onnx, serialized

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16


class Form(abc.ABC):
    """Writes a canonical or a quantized graph anew; ``model`` is the result, ``passes`` what was done."""

    RULES: ClassVar[Mapping[tuple[str, str], Callable[..., None]]]
    """For every operation of the graph, by domain and name, what writes it."""
    PASS: ClassVar[str]
    """What every file of this form has had done."""
    VERSIONS: ClassVar[tuple[int, int]] = VERSIONS

    def __init__(self, graph: ir.Model, *, half: bool, taps: Sequence[str]) -> None:
        """Writes everything.

        Raises:
            ExportError: A weight does not fit into float16, or the ONNX checker refuses the result.
            UsageError: A tap names no value of the graph, or one that is no float in the file.
        """
        self._type = HALF if half else FLOAT
        self._write = Writer()
        self._absorbed: set[str] = set()
        """Values that became part of an operation written earlier."""
        self._shown = (*map(name_of, graph.graph.outputs), *check_taps(graph, taps))
        self._passes: dict[str, None] = {self.PASS: None}
        image = self._input(graph.graph.inputs[0])
        for node in graph.graph:
            name = name_of(node.outputs[0])
            if name in taps and (node.op_type == QUANTIZE or weight_of(node.outputs[0]) is not None):
                raise UsageError(f"{name!r} cannot be shown: it is no float in this file")
            if name not in self._absorbed:
                self.RULES[node.domain, node.op_type](self, node)
        outputs = [self._output(name) for name in self._shown]
        metadata = dict(sorted(graph.metadata_props.items()))
        self.model = self._write.model(image, outputs, metadata, versions=self.VERSIONS)
        check_onnx(self.model, "rewritten")
        self.passes = tuple(self._passes)

    @abc.abstractmethod
    def _enter(self, value: ir.Value, x: ir.Value) -> None:
        """Takes note of the graph's input, which is ``x`` in the file."""

    @abc.abstractmethod
    def _leave(self, name: str) -> ir.Value:
        """A value of the graph, in the graph's own layout."""

    def _input(self, value: ir.Value) -> ir.Value:
        """The input: the graph's own, so that FP16 files take the same arrays as FP32 files."""
        name = name_of(value)
        image = ir.Value(name=name, shape=ir.Shape(shape_of(value)), type=value.type)
        self._enter(value, self._cast(image, self._type, f"{name}.half") if image.dtype is FLOAT else image)
        return image

    def _output(self, name: str) -> ir.Value:
        """An output: float32, under its own name."""
        value = self._leave(name)
        return value if value.name == name else self._cast(value, FLOAT, name)

    def _cast(self, x: ir.Value, dtype: ir.DataType, name: str) -> ir.Value:
        if x.dtype is dtype:
            return x
        return self._write.op("Cast", [x], {"to": int(dtype)}, name=name, shape=shape_of(x), dtype=dtype)

    def _transpose(self, x: ir.Value, perm: Sequence[int], name: str) -> ir.Value:
        shape, dtype = [shape_of(x)[axis] for axis in perm], x.dtype or self._type
        return self._write.op("Transpose", [x], {"perm": perm}, name=name, shape=shape, dtype=dtype)

    def _grn_factor(self, node: ir.Node, energy: ir.Value, *, per_channel: tuple[int, ...]) -> ir.Value:
        """``base + gamma * N`` from the energy of each channel, in float32 up to the last operation.

        Squares of activations pass 65504 where those pass 256, and the epsilon, around 1e-8, is zero in float16.
        """
        name, write, shape = name_of(node.outputs[0]), self._write, shape_of(energy)
        response = write.op("Sqrt", [energy], name=f"{name}.response", shape=shape)
        shifted = self._shifted_mean(response, f"{name}.mean", number(node, "epsilon"))
        y = write.op("Div", [response, shifted], name=f"{name}.normalized", shape=shape)
        gamma, base = (write.constant(name_of(v), array_of(v).reshape(per_channel)) for v in node.inputs[1:])
        y = write.op("Mul", [y, gamma], name=f"{name}.weighted", shape=shape)
        y = write.op("Add", [y, base], name=f"{name}.factor", shape=shape)
        return self._cast(y, self._type, f"{name}.factor.half")

    @abc.abstractmethod
    def _shifted_mean(self, response: ir.Value, name: str, epsilon: float) -> ir.Value:
        """GRN's mean over the channels, and the epsilon."""

    def _epsilon(self, mean: str, epsilon: float) -> ir.Value:
        return self._write.constant(f"{mean.removesuffix('.mean')}.epsilon", np.array(epsilon, np.float32))

    def _affine(self, norm: ir.Node) -> tuple[ir.Value, ir.Value | None, ir.Value | None]:
        """The scale and the bias that follow a norm and nothing else, as vectors, and the last value of the three.

        None where a norm has none, or an output shows what is between.
        """
        last, found = norm.outputs[0], list[ir.Value | None]()
        for op_type in ("Mul", "Add"):
            read_by = readers(last)
            after = read_by[0] if len(read_by) == 1 and name_of(last) not in self._shown else None
            if after is None or after.op_type != op_type or not is_constant(after.inputs[1]):
                found.append(None)
                continue
            found.append(self._vector(after.inputs[1]))
            last = after.outputs[0]
            self._absorbed.add(name_of(last))
        return last, found[0], found[1]

    def _parameter(self, value: ir.Value | None) -> ir.Value:
        return self._constant(name_of(value), array_of(value), added=is_added(value))

    def _vector(self, value: ir.Value | None) -> ir.Value:
        """A constant per channel, without the axes it has beside that in maps."""
        return self._constant(name_of(value), array_of(value).reshape(-1), added=is_added(value))

    def _constant(self, name: str, array: NDArray[np.floating], *, added: bool = False) -> ir.Value:
        """A constant in the form's own type."""
        floats = to_half(name, array, added=added) if self._type is HALF else array.astype(np.float32)
        return self._write.constant(name, floats)


def lowered(
    model: ir.Model,
    passes: tuple[str, ...],
    kept_float: Mapping[str, str] = MappingProxyType({}),
    *,
    suffix: str = ".onnx",
) -> Lowered:
    """The artifact of a model that is finished: its input and outputs are those of the file."""
    return Lowered(
        files={suffix: serialized(model)},
        inputs=tuple(map(spec_of, model.graph.inputs)),
        outputs=tuple(map(spec_of, model.graph.outputs)),
        passes=passes,
        kept_float=kept_float,
    )
