"""What writes a MIL program: values by their canonical names, settings once each, constants in the program's type."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.graph.half import is_added, to_half
from edgecvx.graph.values import array_of, name_of, producer, readers

Var = Any
"""A value of a MIL program; coremltools has no types to speak of."""


class Identifiers:
    """Canonical names as MIL identifiers (``stages.0.blocks.1`` is ``stages_0_blocks_1``), each its own."""

    def __init__(self) -> None:
        self.canonical: dict[str, str] = {}
        """Identifier -> canonical name."""

    def of(self, name: str) -> str:
        """The identifier of a canonical name; the same one every time."""
        identifier = re.sub(r"[^A-Za-z0-9_]", "_", name)
        identifier = identifier if identifier[:1].isalpha() else f"v_{identifier}"
        while self.canonical.setdefault(identifier, name) != name:
            identifier += "_"
        return identifier


class MilWriter:
    """Writes canonical nodes into the MIL function that is open.

    Args:
        builder: coremltools' ``Builder``.
        half: Whether the arithmetic is FP16.
        published: Canonical names of the values the program returns; in FP16 the value itself carries the suffix
            ``_half``, and its FP32 form the name.
    """

    def __init__(self, builder: Any, *, half: bool, published: Collection[str]) -> None:
        self.mb = builder
        self.half = half
        self.published = published
        self.dtype: type[np.floating[Any]] = np.float16 if half else np.float32
        self.identifiers = Identifiers()
        self.values: dict[str, Var] = {}
        self.passes: set[str] = set()
        self.centred: set[str] = set()
        """Canonical names of the values that are ``GREY`` less than they should be."""
        self.single: set[str] = set()
        """Canonical names of the values that are FP32 in any program."""
        self._settings: dict[tuple[str, str], Var] = {}

    def publish(self, name: str) -> Var:
        """The value as the program returns it: FP32, under its own name."""
        var, identifier = self.values[name], self.identifiers.of(name)
        if self.half and name not in self.single:
            return self.op("cast", identifier, x=var, dtype="fp32")
        return var if var.name == identifier else self.op("identity", identifier, x=var)

    def op(self, kind: str, name: str, **arguments: Any) -> Var:
        """One MIL operation; what is not a value of the program is a setting, and shared. None is left out."""
        given = {k: v for k, v in arguments.items() if v is not None}
        known = {k: v if hasattr(v, "sym_type") else self._setting(v) for k, v in given.items()}
        return getattr(self.mb, kind)(name=name, **known)

    def constant(self, name: str, array: NDArray[Any], *, added: bool = False) -> Var:
        """A constant of the graph, in the program's precision; ``added`` as ``to_half`` has it."""
        data = to_half(name, array, added=added) if self.half else array
        return self.mb.const(val=np.ascontiguousarray(data, dtype=self.dtype), name=self.identifiers.of(name))

    def input(self, node: ir.Node, index: int) -> Var | None:
        """A node's input, or None where it is absent."""
        if index >= len(node.inputs) or (value := node.inputs[index]) is None:
            return None
        name = name_of(value)
        if name not in self.values:
            self.values[name] = self.constant(name, array_of(value), added=is_added(value))
        return self.values[name]

    def output(self, node: ir.Node) -> str:
        """The identifier of what a node computes."""
        name = name_of(node.outputs[0])
        return self.identifiers.of(f"{name}.half" if self.half and name in self.published else name)

    def real(self, value: float) -> Any:
        """A scalar of the program's precision."""
        return self.dtype(value)

    def gate_of(self, node: ir.Node) -> ir.Value | None:
        """x, where the node is ``x * Sigmoid(x)``."""
        for x, gate in (node.inputs, node.inputs[::-1]):
            sigmoid = producer(gate, "Sigmoid")
            if sigmoid is not None and sigmoid.inputs[0] is x:
                return x
        return None

    def is_gate(self, value: ir.Value) -> bool:
        """Whether a value is only there for a SiLU, which is one op in MIL."""
        sigmoid = producer(value, "Sigmoid")
        if sigmoid is None or name_of(value) in self.published:
            return False
        users = readers(value)
        return bool(users) and all(u.op_type == "Mul" and self.gate_of(u) is sigmoid.inputs[0] for u in users)

    def _setting(self, value: Any) -> Var:
        if isinstance(value, list | tuple):
            value = np.asarray(value, dtype=np.int32)
        elif isinstance(value, int) and not isinstance(value, bool):
            value = np.int32(value)
        key = (str(getattr(value, "dtype", type(value).__name__)), repr(value))
        if key not in self._settings:
            self._settings[key] = self.mb.const(val=value, name=self.identifiers.of(f"setting.{len(self._settings)}"))
        return self._settings[key]
