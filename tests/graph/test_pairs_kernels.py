"""The runtimes' kernels on every class of processors: pairs are where we say, and add exactly within the limit."""

from __future__ import annotations

import json

import pytest
from emulated import HERE, PROCESSORS, Processor, Way, run, why_not

for package in ("onnxruntime", "openvino"):
    pytest.importorskip(package)

EXACT = 7e-3
"""An output of 8 bits has 254 steps for twice the largest sum, of which rounding takes half; floats are exact."""
SATURATED = 0.1
"""Of the largest sum: 127 beside 127 loses half of each pair that is summed where it overflows."""
OVERFLOW = {"onnxruntime": ("AVX2", "AVX-512"), "openvino": ("SSE4.2", "AVX2", "AVX-512")}
"""Classes of processors on which a runtime adds in int16."""


def here() -> list[Processor]:
    """Each class once, at full speed where that can be had."""
    found: dict[str, Processor] = {}
    for processor in sorted(PROCESSORS, key=lambda p: p.slow):
        if processor.way is not Way.BOARD and (processor.kind not in found) and not why_not(processor):
            found[processor.kind] = processor
    return list(found.values())


@pytest.mark.skipif(not here(), reason="no other processor can be emulated here: apt-get install qemu-user")
def test_pairs_within_the_limit_add_exactly_and_no_others_do() -> None:
    classes = set()
    for processor in here():
        found = json.loads(run(processor, HERE / "pair_kernels.py"))
        assert len(found) > 50
        for kernel, errors in found.items():
            runtime = kernel.split(",")[0].split()[0]
            assert errors["within"] < EXACT, f"{kernel} on {processor}: a pair is not where it was taken to be"
            overflows = processor.kind in OVERFLOW[runtime] and not errors["depthwise"]
            assert (errors["over"] > SATURATED) is overflows, f"{kernel} on {processor}: {errors}"
        classes.add(processor.kind)
    assert "AVX2" in classes, "the class this is about"
