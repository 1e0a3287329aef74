"""Writing a graph: every node and every constant that edgecvx puts into one is made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.checker
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError

OPSET = 20
"""The first with Gelu."""
IR_VERSION = 10
"""The one opset 20 to 22 came with; the oldest onnxruntime we accept reads it."""
VERSIONS = (OPSET, IR_VERSION)
CONTRIB = "com.microsoft"
"""ONNX Runtime's own operations; no other runtime has them, and the ONNX checker knows none of them."""

Attributes = Mapping[str, int | float | str | Sequence[int] | ir.TensorProtocol]


def new_constant(name: str, array: NDArray[np.generic]) -> ir.Value:
    """A constant, in the array's own type."""
    data = np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes a scalar a vector
    tensor = ir.tensor(data, name=name)
    return ir.Value(name=name, shape=ir.Shape(data.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)


def check_onnx(model: ir.Model, what: str) -> None:
    """Holds a model to ONNX's own checker with its shape inference.

    Raises:
        ExportError: The checker refuses it.
    """
    try:
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the {what} graph is not valid ONNX: {error}") from error


def serialized(model: ir.Model) -> bytes:
    """A model's bytes, the same for the same model."""
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))


class Writer:
    """Collects operations in order, each with one output of a static type and shape."""

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
        """Appends an operation and returns its output; both carry the same name."""
        if name in self._names:
            raise ExportError(f"two values of a graph are called {name!r}")
        self._names.add(name)
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self.nodes.append(ir.node(op_type, inputs, attributes or {}, domain=domain, outputs=[value], name=name))
        return value

    def constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        """A constant; asking for the same name again gives the same value."""
        if name not in self._constants:
            self._constants[name] = new_constant(name, array)
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
        versions: tuple[int, int] = VERSIONS,
        functions: Sequence[ir.Function] = (),
    ) -> ir.Model:
        """The finished model, of an opset and IR version; ``functions`` are those its nodes may call."""
        opset, ir_version = versions
        domains = {node.domain: 1 for node in self.nodes if node.domain}
        called = {node.op_type for node in self.nodes if node.domain}
        graph = ir.Graph(
            [image],
            outputs,
            nodes=self.nodes,
            initializers=list(self._constants.values()),
            name="edgecvx",
            opset_imports={"": opset, **domains},
        )
        return ir.Model(
            graph,
            ir_version=ir_version,
            producer_name="edgecvx",
            functions=[function for function in functions if function.name in called],
            metadata_props=dict(metadata),
        )
