"""The operators of a TFLite file in the terms all formats share: what each one computes, and what it costs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from edgecvx.export.base import OpInfo
from edgecvx.export.tflite.schema import Operator, TensorInfo, read_file


def read_ops(path: Path) -> tuple[OpInfo, ...]:
    """The operators of a TFLite file, in execution order.

    Raises:
        ArtifactError: The file is missing, is no TFLite file, or contradicts itself.
    """
    seen: set[int] = set()
    return tuple(_op_info(op, seen) for op in read_file(path).ops)


def _op_info(op: Operator, seen: set[int]) -> OpInfo:
    """One operator; ``seen`` are the constants counted so far: a file has one object per tensor."""
    fresh = {id(t): t for t in op.inputs if t.bytes and id(t) not in seen}
    seen.update(fresh)
    output = op.outputs[0] if op.outputs else None
    macs = _macs(op)
    return OpInfo(
        op=op.name,
        name=output.name if output else "",
        dtype=output.dtype.lower() if output else "unknown",
        shape=output.shape if output else (),
        const_bytes=sum(t.bytes for t in fresh.values()),
        macs=macs,
        bits=8 if macs > 0 and op.inputs[1].dtype == "int8" else None,
    )


def _macs(op: Operator) -> int:
    """Each element of the output takes one multiply-accumulate per weight that leads to it."""
    if len(op.inputs) < 2 or not op.outputs:
        return 0
    filters, out = op.inputs[1].shape, op.outputs[0].shape
    if op.name == "CONV_2D" and len(filters) == 4:  # out, height, width, in
        return math.prod(out[:-1]) * math.prod(filters[1:3]) * _connections(*op.inputs[:2])
    depths = {
        "DEPTHWISE_CONV_2D": filters[1:3],  # 1, height, width, channels
        "FULLY_CONNECTED": filters[1:],  # out, in
    }
    return math.prod(out) * math.prod(depths[op.name]) if op.name in depths else 0


def _connections(x: TensorInfo, filters: TensorInfo) -> int:
    """How many pairs of an output and an input channel a CONV_2D connects.

    In groups, only those with a weight other than zero. A depthwise may be written as a convolution whose groups hold
    several channels, each of which takes nothing from the others; the zeros that say so are no work of the network's.
    An output whose weights all happen to be zero is one of the network's all the same.
    """
    outputs, *_, group = filters.shape
    if filters.values is None or (group,) == x.shape[-1:]:
        return outputs * group
    connected = filters.values.any(axis=(1, 2)).sum(axis=1)
    return int(np.maximum(connected, 1).sum())
