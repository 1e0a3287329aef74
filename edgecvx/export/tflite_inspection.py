"""The operators of a TFLite file in the terms all formats share: what each one computes, and what it costs."""

from __future__ import annotations

import math
from pathlib import Path

from edgecvx.export import tflite_schema
from edgecvx.export.opinfo import OpInfo


def read_ops(path: Path) -> tuple[OpInfo, ...]:
    """The operators of a TFLite file, in execution order.

    Raises:
        ArtifactError: The file is missing, is no TFLite file, or contradicts itself.
    """
    seen: set[int] = set()
    return tuple(_op_info(op, seen) for op in tflite_schema.read_operators(path))


def _op_info(op: tflite_schema.Operator, seen: set[int]) -> OpInfo:
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
        int8=macs > 0 and op.inputs[1].dtype == "int8",
    )


def _macs(op: tflite_schema.Operator) -> int:
    """Each element of the output takes one multiply-accumulate per weight that leads to it."""
    if len(op.inputs) < 2 or not op.outputs:
        return 0
    filters = op.inputs[1].shape
    depths = {
        "CONV_2D": filters[1:],  # out, height, width, in
        "DEPTHWISE_CONV_2D": filters[1:3],  # 1, height, width, channels
        "FULLY_CONNECTED": filters[1:],  # out, in
    }
    return math.prod(op.outputs[0].shape) * math.prod(depths[op.name]) if op.name in depths else 0
