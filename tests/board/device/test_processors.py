"""Processors by what they say of themselves, and the class that their instructions put them in."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from edgecvx.board.device import files as board
from edgecvx.board.device import processors
from edgecvx.board.device.files import ROOT
from edgecvx.board.device.processors import KINDS, Processor, cpu_features, kind_of, this_processor

HASWELL = "fpu sse sse2 ssse3 sse4_1 sse4_2 avx f16c fma avx2"
SKYLAKE_X = f"{HASWELL} avx512f avx512bw avx512vl"
CASCADE_LAKE = f"{SKYLAKE_X} avx512_vnni"
PI_4, PI_5 = "fp asimd evtstrm crc32 cpuid", "fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm asimddp"


def pc(flags: str, name: str = "A PC") -> str:
    return f"processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: {name}\nflags\t\t: {flags}\n\n"


def arm(features: str, part: str = "0xd08") -> str:
    return f"processor\t: 0\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n"


def tree(root: Path, cpuinfo: str) -> Path:
    (root / "proc").mkdir(parents=True)
    (root / "proc" / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("cpuinfo", "kind"),
    [
        (pc("fpu sse sse2"), "x86-64"),
        (pc("fpu sse sse2 ssse3 sse4_1 sse4_2"), "SSE4.2"),
        (pc(HASWELL), "AVX2"),
        (pc(f"{HASWELL} avx_vnni"), "AVX-VNNI"),
        (pc(SKYLAKE_X), "AVX-512"),
        (pc(f"{HASWELL} avx512f"), "AVX2"),  # without avx512bw there are no products of bytes in 512 bits
        (pc(CASCADE_LAKE), "AVX512-VNNI"),
        (pc(f"{CASCADE_LAKE} avx_vnni avx512_bf16 amx_tile amx_int8"), "AMX"),
        (arm(PI_4), "NEON"),
        (arm(PI_5), "dotprod"),
        (arm(f"{PI_5} i8mm bf16 sve"), "i8mm"),
    ],
)
def test_the_class_is_that_of_the_best_instructions(cpuinfo: str, kind: str, tmp_path: Path) -> None:
    assert this_processor(tree(tmp_path, cpuinfo)).kind == kind


def test_a_processor_is_described_by_what_it_tells(tmp_path: Path) -> None:
    found = this_processor(tree(tmp_path, arm(PI_5, "0xd0b")))
    features = ("asimd", "asimddp", "asimdhp", "fphp")
    assert found == Processor(name="Cortex-A76", machine=platform.machine(), kind="dotprod", instructions=features)


def test_cores_that_differ_are_of_the_class_that_all_of_them_are_of(tmp_path: Path) -> None:
    """A runtime may be moved from one to the other at any moment."""
    root = tree(tmp_path, arm(PI_5, "0xd0b") + arm(PI_4, "0xd05"))
    found = this_processor(root)
    assert (found.name, found.kind) == ("Cortex-A76 + Cortex-A55", "NEON")


@pytest.mark.parametrize("cpuinfo", ["", "processor\t: 0\nisa\t\t: rv64imafdc\n\n", arm("half thumb neon vfpv4")])
def test_what_cannot_be_told_is_no_class(cpuinfo: str, tmp_path: Path) -> None:
    """Windows, an architecture nobody here knows, a 32-bit Arm."""
    assert this_processor(tree(tmp_path, cpuinfo)).kind is None


def test_a_processor_with_nothing_that_matters_is_known_to_have_nothing(tmp_path: Path) -> None:
    assert cpu_features(tree(tmp_path / "pc", pc("fpu sse sse2"))) == ()
    assert cpu_features(tree(tmp_path / "none", "")) is None


def test_every_class_has_an_instruction_of_its_own() -> None:
    assert len(set(KINDS.values())) == len(KINDS)
    for kind, instruction in KINDS.items():
        assert kind_of([instruction], arm=kind in ("i8mm", "dotprod", "NEON")) == kind


@pytest.mark.skipif(not (ROOT / "proc/cpuinfo").is_file(), reason="Linux tells it in /proc/cpuinfo")
def test_an_emulator_that_shows_its_host_is_no_processor_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU runs an Arm program, and /proc/cpuinfo is the PC's; or the other way round."""
    assert this_processor().kind in KINDS
    other = "x86_64" if platform.machine() == "aarch64" else "aarch64"
    monkeypatch.setattr(platform, "machine", lambda: other)
    assert this_processor().kind is None


M1 = {"hw.optional.AdvSIMD": "1", "hw.optional.arm.FEAT_DotProd": "1", "hw.optional.arm.FEAT_FP16": "1"}
ICE_LAKE = {"hw.optional.sse4_2": "1", "hw.optional.avx2_0": "1", "hw.optional.avx512bw": "1"}


@pytest.mark.parametrize(
    ("machine", "tells", "kind"),
    [
        ("arm64", M1 | {"hw.optional.arm.FEAT_I8MM": "0"}, "dotprod"),
        ("arm64", M1 | {"hw.optional.arm.FEAT_I8MM": "1"}, "i8mm"),
        ("x86_64", {"hw.optional.sse4_2": "1", "hw.optional.avx2_0": "1"}, "AVX2"),
        ("x86_64", ICE_LAKE, None),  # macOS does not tell whether it has VNNI
    ],
)
def test_a_mac_is_asked_by_its_own_names(
    machine: str, tells: Mapping[str, str], kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(_: Path, words: Sequence[str]) -> str | None:
        return {**tells, "machdep.cpu.brand_string": "Apple M1"}.get(words[-1])

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(board, "command", answers)
    monkeypatch.setattr(processors, "cpuinfo", lambda _: [])
    found = this_processor()
    assert (found.name, found.kind) == ("Apple M1", kind)
