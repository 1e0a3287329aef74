"""Whoever exports where INT8 gains nothing is told, and told what gains."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecvx.board.device.processors import KINDS, Processor
from edgecvx.pipeline import export
from edgecvx.spec import Precision
from edgecvx.targets import TARGETS, get_target
from edgecvx.targets.gains import PART_OF_FP32, gains_nothing


def test_what_was_measured_names_targets_precisions_and_classes_that_exist() -> None:
    for (name, precision), parts in PART_OF_FP32.items():
        assert name in TARGETS and precision in get_target(name).schemes
        assert set(parts) <= set(KINDS) and all(0.2 < part < 2 for part in parts.values())


def test_where_every_form_gains_or_nobody_knows_nothing_is_said() -> None:
    for kind in ("AVX512-VNNI", "AMX", "dotprod", None):
        assert gains_nothing("tflite", Precision.INT8, kind) is None
    assert gains_nothing("openvino", Precision.INT8, "AVX2") is None
    assert gains_nothing("raspberrypi5", Precision.INT8, "AVX2") is None, "its files do not run here"
    assert gains_nothing("tflite", Precision.FP32, "AVX2") is None


@pytest.mark.parametrize(("kind", "told"), [("AVX2", 1), ("AVX512-VNNI", 0)])
def test_an_export_says_so(kind: str, told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Processor(name="a processor", machine="x86_64", kind=kind, instructions=())
    monkeypatch.setattr("edgecvx.pipeline.this_processor", lambda: here)
    result = export(
        "atto", target="tflite", precision="int8", weights="demo", image_size=64, calib_samples=8, out=tmp_path
    )
    found = [warning for warning in result.warnings if "gains next to nothing" in warning]
    assert len(found) == told
    for warning in found:
        assert warning.startswith("on processors like this one (AVX2) tflite gains next to nothing in int8")
        assert "0.67 for openvino in int8" in warning
