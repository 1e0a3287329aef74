"""What a saved ``.mlpackage`` computes, operation by operation, without running it.

Constants are no operations, in whatever form they are kept: int8 weights with their scales count as bytes where they
are read. Nothing in a program says that a layer multiplies integers; that it may, its neighbours say: a layer whose
input was dequantized from int8 and whose weights are int8 can be computed in int8, exactly, and is listed so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgecvx.export.base import OpInfo
from edgecvx.export.coreml.program import CONSTEXPR, Named, Op, read_package

LAYERS = ("conv", "linear")
"""The operations with weights."""
INTEGERS = ("int8", "uint8")


def read_ops(path: Path) -> tuple[OpInfo, ...]:
    """Every operation of a package in order, without running anything.

    Raises:
        ArtifactError: The package is damaged.
    """
    found = []
    constants: dict[str, Op] = {}
    counted: set[str] = set()
    dequantized: set[str] = set()
    for op in read_package(path).ops:
        name, kind = op.outputs[0]
        if op.kind == "const" or op.kind.startswith(CONSTEXPR):
            constants[name] = op
            continue
        if op.kind == "dequantize":
            dequantized.add(name)
        read = {v.name for v in op.inputs.values() if isinstance(v, Named) and v.name in constants}
        found.append(
            OpInfo(
                op=op.kind,
                name=name,
                dtype=kind.dtype,
                shape=_shape(op),
                const_bytes=sum(_bytes(constants[n]) for n in read - counted),
                macs=_macs(op, constants),
                bits=8 if _is_int8(op, constants, dequantized) else None,
            )
        )
        counted |= read
    return tuple(found)


def _bytes(constant: Op) -> int:
    return sum(part.nbytes for part in (constant.value, *constant.inputs.values()) if isinstance(part, np.ndarray))


def _shape(op: Op) -> tuple[int, ...]:
    return op.outputs[0][1].shape or ()


def _weight(op: Op, constants: Mapping[str, Op]) -> Op | None:
    weight = op.inputs.get("weight")
    return constants.get(weight.name) if op.kind in LAYERS and isinstance(weight, Named) else None


def _macs(op: Op, constants: Mapping[str, Op]) -> int:
    """Multiply-accumulates: what one output value takes, times the output values."""
    weight = _weight(op, constants)
    return 0 if weight is None else math.prod(_shape(op)) * math.prod(_shape(weight)[1:])


def _is_int8(op: Op, constants: Mapping[str, Op], dequantized: set[str]) -> bool:
    weight, x = _weight(op, constants), op.inputs.get("x")
    stored = None if weight is None else weight.inputs.get("quantized_data")
    return str(getattr(stored, "dtype", "")) in INTEGERS and isinstance(x, Named) and x.name in dequantized
