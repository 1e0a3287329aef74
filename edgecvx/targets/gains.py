"""What INT8 gains where no instruction multiplies bytes fast: measured, for whoever exports on such a machine.

The time of an INT8 file as a part of the same network's FP32 file in the same runtime: femto, 224 px, one thread, files
in turn (``benchmarks/results``). Where there are such instructions every form gains, and nothing has to be said.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgecvx.spec import Precision

GAINS = 0.9
"""A larger part is no gain to speak of: it differs from machine to machine by as much, and the answers differ too."""
PART_OF_FP32: Mapping[tuple[str, Precision], Mapping[str, float]] = MappingProxyType(
    {
        ("onnx", Precision.INT8): {"AVX2": 0.74},
        ("openvino", Precision.INT8): {"AVX2": 0.67},
        ("tflite", Precision.INT8): {"AVX2": 0.93},  # 1.08 on another machine, which has nothing beyond AVX2
    }
)
"""(target, precision) -> class of processors -> part of FP32's time. No device's target is here: its files do not run
on the machine that writes them."""


def gains_nothing(target: str, precision: Precision, kind: str | None) -> str | None:
    """A sentence where a target's files gain nothing on processors of a class, with those that do; else None."""
    part = PART_OF_FP32.get((target, precision), {}).get(kind or "", 0.0)
    if part < GAINS:
        return None
    others = sorted((parts.get(kind or "", 1.0), name, p.value) for (name, p), parts in PART_OF_FP32.items())
    better = ", ".join(f"{value:.2f} for {name} in {form}" for value, name, form in others if value < GAINS)
    return (
        f"on processors like this one ({kind}) {target} gains next to nothing in {precision.value}: femto took "
        f"{part:.2f} of its FP32 file's time" + (f"; it took {better}" if better else "")
    )
