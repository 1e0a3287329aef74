"""What the doctor says of the processor."""

from __future__ import annotations

import pytest

from edgecvx.board.device.processors import KINDS, Processor
from edgecvx.inspection import doctor
from edgecvx.inspection.doctor import INT8_PRODUCTS, diagnose
from edgecvx.spec import to_json


def processor(kind: str | None, *instructions: str) -> Processor:
    return Processor(name="A chip", machine="x86_64", kind=kind, instructions=instructions)


@pytest.mark.parametrize(
    ("kind", "means"),
    [
        ("AVX2", "adds pairs of uint8 x int8 products in 16 bits; edgecvx's INT8 files cannot overflow there"),
        ("AVX512-VNNI", "adds four products of bytes at once, in 32 bits"),
        (None, "every file is checked here once"),
    ],
)
def test_it_says_the_class_and_what_that_means(kind: str | None, means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "this_processor", lambda: processor(kind, "avx2", "fma"))
    found = diagnose()
    assert found.machine["class"].startswith(f"{kind or 'unknown'}: ") and means in found.machine["class"]
    assert found.machine["processor"].startswith("A chip, ") and found.machine["processor"].endswith(" threads, avx2")
    assert to_json(found)["processor"]["kind"] == kind


def test_every_class_means_something() -> None:
    assert set(INT8_PRODUCTS) == set(KINDS)
