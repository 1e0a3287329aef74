"""Writing a graph of standard ONNX operations from the canonical one: what every ONNX-based form shares."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError, one_of
from edgecvx.graph.canonical import IR_VERSION, OPSET
from edgecvx.spec import Layout, TensorSpec

Attributes = Mapping[str, int | float | str | Sequence[int] | ir.TensorProtocol]

CONTRIB = "com.microsoft"
"""ONNX Runtime's own operations; no other runtime has them, and the ONNX checker knows none of them."""


class Writer:
    """Collects operations in order, each with its static type and shape."""

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []
        self._constants: dict[str, ir.Value] = {}
        self._names: set[str] = set()

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        name: str,
        shape: Sequence[int],
        dtype: ir.DataType = ir.DataType.FLOAT,
        domain: str = "",
    ) -> ir.Value:
        """One operation with one output; the operation and its output carry the same name."""
        if name in self._names:
            raise ExportError(f"two values of a graph are called {name!r}")
        self._names.add(name)
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self.nodes.append(ir.node(op_type, inputs, attributes or {}, domain=domain, outputs=[value], name=name))
        return value

    def constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        """A constant; asking for the same name again gives the same value."""
        if name not in self._constants:
            data = np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes a scalar a vector
            tensor = ir.tensor(data, name=name)
            self._constants[name] = ir.Value(
                name=name, shape=ir.Shape(data.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
        return self._constants[name]

    def integers(self, *values: int) -> ir.Value:
        """Axes or a shape, shared by all operations that need the same."""
        return self.constant("shape." + "x".join(map(str, values)), np.array(values, dtype=np.int64))

    def model(
        self,
        image: ir.Value,
        outputs: Sequence[ir.Value],
        metadata: Mapping[str, str],
        *,
        opset: int = OPSET,
        ir_version: int = IR_VERSION,
    ) -> ir.Model:
        """The finished model, checked by ONNX's own checker with its shape inference.

        Raises:
            ExportError: The checker refuses it.
        """
        foreign = {node.domain: 1 for node in self.nodes if node.domain}
        graph = ir.Graph(
            [image],
            outputs,
            nodes=self.nodes,
            initializers=list(self._constants.values()),
            name="edgecvx",
            opset_imports={"": opset, **foreign},
        )
        props = dict(sorted(metadata.items()))
        model = ir.Model(graph, ir_version=ir_version, producer_name="edgecvx", metadata_props=props)
        try:
            onnx.checker.check_model(ir.to_proto(model), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f"the rewritten graph is not valid ONNX: {error}") from error
        return model


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The static shape every value of a canonical graph has."""
    if value.shape is None:
        raise ExportError(f"value {value.name!r} has no shape")
    return tuple(int(d) for d in value.shape)  # type: ignore[arg-type]


def name_of(value: ir.Value | None) -> str:
    """The name every value of a canonical graph has."""
    if value is None or value.name is None:
        raise ExportError("a value of the canonical graph has no name")
    return value.name


def constant_of(value: ir.Value | None) -> NDArray[Any]:
    """The content of a constant, in its own type."""
    if value is None or value.const_value is None:
        raise ExportError(f"{name_of(value)!r} should be a constant and is not")
    return value.const_value.numpy()


def array_of(value: ir.Value | None) -> NDArray[np.float32]:
    """The content of a constant that holds floats."""
    return np.asarray(constant_of(value), dtype=np.float32)


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is an initializer."""
    return value is not None and value.const_value is not None


def number(node: ir.Node, attribute: str) -> float:
    """A float attribute, e.g. ``epsilon``."""
    return float(node.attributes[attribute].as_float())


def attributes_of(node: ir.Node) -> dict[str, int | float | str | Sequence[int]]:
    """All attributes of a node, as plain values."""
    return {name: attribute.value for name, attribute in node.attributes.items()}


def affine_after(norm: ir.Node, shown: Collection[str]) -> tuple[ir.Node | None, ir.Node | None]:
    """The Mul and the Add by constants that follow a norm and nothing else; none where an output shows what is between.

    Args:
        norm: A LayerNorm2d of the canonical graph.
        shown: The names of the outputs.
    """
    last, found = norm, list[ir.Node | None]()
    for op_type in ("Mul", "Add"):
        uses = [use.node for use in last.outputs[0].uses()]
        after = uses[0] if len(uses) == 1 and name_of(last.outputs[0]) not in shown else None
        if after is None or after.op_type != op_type or not is_constant(after.inputs[1]):
            found.append(None)
        else:
            found.append(after)
            last = after
    return found[0], found[1]


def reads_picture(layer: ir.Node) -> bool:
    """Whether a convolution's input is the picture itself, normalized or in bytes."""
    source = layer.inputs[0]
    below = None if source is None else source.producer()
    return layer.op_type == "Conv" and (below is None or below.op_type == "Cast")


def check_taps(graph: ir.Model, taps: Sequence[str]) -> tuple[str, ...]:
    """Returns the taps without those that are outputs anyway.

    Raises:
        UsageError: There is no value of that name.
    """
    known = [name_of(value) for node in graph.graph for value in node.outputs]
    outputs = {name_of(value) for value in graph.graph.outputs}
    for tap in taps:
        if tap not in known:
            raise one_of("value", tap, known)
    return tuple(tap for tap in dict.fromkeys(taps) if tap not in outputs)


def spec_of(value: ir.Value) -> TensorSpec:
    """An input or output in edgecvx's words; maps are NCHW in every ONNX file."""
    names = {ir.DataType.FLOAT: "float32", ir.DataType.FLOAT16: "float16", ir.DataType.UINT8: "uint8"}
    shape = shape_of(value)
    layout: Layout = "NCHW" if len(shape) == 4 else "NC"
    if value.dtype is None or value.dtype not in names:
        raise ExportError(f"{name_of(value)!r} has type {value.dtype}, which no file of edgecvx has")
    return TensorSpec(name=name_of(value), shape=shape, dtype=names[value.dtype], layout=layout)  # type: ignore[arg-type]
