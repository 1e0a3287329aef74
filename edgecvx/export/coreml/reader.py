"""What a saved ``.mlpackage`` computes, operation by operation, without running it.

Constants are no operations, in whatever form they are kept: int8 weights with their scales count as bytes where they
are read. Nothing in a program says that a layer multiplies integers; that it may, its neighbours say: a layer whose
input was dequantized from int8 and whose weights are int8 can be computed in int8, exactly, and is listed so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecvx.export.base import OpInfo
from edgecvx.export.coreml.program import CONSTEXPR, Named, Op, read_package

LAYERS = ("conv", "linear")
"""The operations with weights."""
INTEGERS = ("int8", "uint8")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constant:
    """A constant: the shape of what is read, and how it is kept."""

    shape: tuple[int, ...]
    bytes: int
    integer: bool


def read_ops(path: Path) -> tuple[OpInfo, ...]:
    """Every operation of a package in order, without running anything.

    Raises:
        ArtifactError: The package is damaged.
    """
    found = []
    constants: dict[str, _Constant] = {}
    counted: set[str] = set()
    dequantized: set[str] = set()
    for op in read_package(path).ops:
        name, kind = op.outputs[0]
        if op.kind == "const" or op.kind.startswith(CONSTEXPR):
            constants[name] = _constant(op)
            continue
        if op.kind == "dequantize":
            dequantized.add(name)
        read = {v.name for v in op.inputs.values() if isinstance(v, Named) and v.name in constants}
        found.append(
            OpInfo(
                op=op.kind,
                name=name,
                dtype=kind.dtype,
                shape=kind.shape or (),
                const_bytes=sum(constants[n].bytes for n in sorted(read - counted)),
                macs=_macs(op, constants),
                bits=8 if _is_int8(op, constants, dequantized) else None,
            )
        )
        counted |= read
    return tuple(found)


def _constant(op: Op) -> _Constant:
    parts = [op.value] if op.kind == "const" else list(op.inputs.values())
    return _Constant(
        shape=op.outputs[0][1].shape or (),
        bytes=sum(part.nbytes for part in parts if isinstance(part, np.ndarray)),
        integer=str(getattr(op.inputs.get("quantized_data"), "dtype", "")) in INTEGERS,
    )


def _weight(op: Op, constants: Mapping[str, _Constant]) -> _Constant | None:
    weight = op.inputs.get("weight")
    return constants.get(weight.name) if op.kind in LAYERS and isinstance(weight, Named) else None


def _macs(op: Op, constants: Mapping[str, _Constant]) -> int:
    """Multiply-accumulates: what one output value takes, times the output values."""
    weight = _weight(op, constants)
    return 0 if weight is None else math.prod(op.outputs[0][1].shape or ()) * math.prod(weight.shape[1:])


def _is_int8(op: Op, constants: Mapping[str, _Constant], dequantized: set[str]) -> bool:
    weight, x = _weight(op, constants), op.inputs.get("x")
    return weight is not None and weight.integer and isinstance(x, Named) and x.name in dequantized
