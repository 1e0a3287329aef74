"""Names of processors, which of their instructions matter to a network, and the class these put a processor in.

Runtimes choose their kernels by those instructions: two processors of one class compute a file alike, of two classes
they need not.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edgecvx.board.device.files import ROOT, cpuinfo, sysctl

ARM_PARTS = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd44"): "Cortex-X1",
    ("0x41", "0xd46"): "Cortex-A510",
    ("0x41", "0xd47"): "Cortex-A710",
    ("0x41", "0xd48"): "Cortex-X2",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x4e", "0x003"): "Denver 2",
    ("0x4e", "0x004"): "Carmel",
}
"""(implementer, part), as in /proc/cpuinfo; those of 64-bit boards."""

_MATTERING = (
    *("asimd", "asimddp", "asimdhp", "fphp", "i8mm", "bf16", "sve", "sve2", "sme", "neon"),
    *("ssse3", "sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8"),
    *("avx512f", "avx512bw", "avx512vl", "avx512_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
)

KINDS = {
    "AMX": "amx_int8",
    "AVX512-VNNI": "avx512_vnni",
    "AVX-512": "avx512bw",
    "AVX-VNNI": "avx_vnni",
    "AVX2": "avx2",
    "SSE4.2": "sse4_2",
    "x86-64": "",
    "i8mm": "i8mm",
    "dotprod": "asimddp",
    "NEON": "asimd",
}
"""The classes, and the instruction that puts a processor in one: the first it has, of those of its architecture."""
_ARM_KINDS = ("i8mm", "dotprod", "NEON")

_APPLE = {
    "arm64": {
        "asimd": "hw.optional.AdvSIMD",
        "asimddp": "hw.optional.arm.FEAT_DotProd",
        "asimdhp": "hw.optional.arm.FEAT_FP16",
        "i8mm": "hw.optional.arm.FEAT_I8MM",
        "bf16": "hw.optional.arm.FEAT_BF16",
    },
    "x86_64": {
        "sse4_2": "hw.optional.sse4_2",
        "avx2": "hw.optional.avx2_0",
        "fma": "hw.optional.fma",
        "f16c": "hw.optional.f16c",
        "avx512f": "hw.optional.avx512f",
        "avx512bw": "hw.optional.avx512bw",
    },
}
"""Linux's names for instructions -> macOS's, by the machine's name there."""


@dataclass(frozen=True)
class Processor:
    """A processor, as far as it decides what a runtime computes."""

    name: Optional[str]  # noqa: UP045  # the runner's reader evaluates it, on Python 3.9 too
    """Its own, ``Cortex-A76``; None where it tells none."""
    machine: str
    """``x86_64``, ``aarch64``, …"""
    kind: Optional[str]  # noqa: UP045
    """Its class, one of ``KINDS``; None where it cannot be told, which is the same class as no other."""
    instructions: tuple[str, ...]
    """Those that matter; none where they cannot be told."""


def this_processor(root: Path = ROOT) -> Processor:
    """The processor of the machine this runs on, or of the one a tree was taken from."""
    return Processor(
        name=cpu_name(root) or (platform.processor() or None if root == ROOT else None),
        machine=platform.machine(),
        kind=_kind(root),
        instructions=cpu_features(root) or (),
    )


def kind_of(features: Sequence[str], *, arm: bool) -> str | None:
    """The class of a processor with these instructions, by Linux's names; None for a 32-bit Arm."""
    known = [(kind, instruction) for kind, instruction in KINDS.items() if (kind in _ARM_KINDS) is arm]
    return next((kind for kind, instruction in known if not instruction or instruction in features), None)


def cpu_name(root: Path) -> str | None:
    """``AMD EPYC``, ``Cortex-A76``, ``0x41/0xd99`` where nobody here knows the number; ``A + B`` where cores differ."""
    names: list[str] = []
    for block in cpuinfo(root):
        name = block.get("model name") if "vendor_id" in block else _arm_name(block)
        if name and name not in names:
            names.append(name)
    return " + ".join(names) or sysctl(root, "machdep.cpu.brand_string")


def cpu_features(root: Path) -> tuple[str, ...] | None:
    """Those instructions that every core has, of the ones that make a network faster."""
    cores = [block for block in cpuinfo(root) if "Features" in block or "flags" in block]
    lists = [set((core.get("Features") or core.get("flags") or "").split()) for core in cores]
    shared = set.intersection(*lists) if any(lists) else _apple_features(root)
    return None if shared is None else tuple(name for name in _MATTERING if name in shared)


def _kind(root: Path) -> str | None:
    features = cpu_features(root)
    if features is None:
        return None
    blocks, machine = cpuinfo(root), platform.machine().lower()
    if not blocks:  # an Apple, which does not tell whether it has VNNI beside AVX-512
        return None if "avx512bw" in features else kind_of(features, arm=machine == "arm64")
    is_arm = any("Features" in block for block in blocks)
    if root == ROOT and is_arm is not machine.startswith(("aarch64", "arm")):
        return None  # an emulator shows its host's processor
    return kind_of(features, arm=is_arm)


def _apple_features(root: Path) -> set[str] | None:
    names = _APPLE.get(platform.machine(), {}) if sys.platform == "darwin" else {}
    return {name for name, question in names.items() if sysctl(root, question) == "1"} or None


def _arm_name(block: dict[str, str]) -> str | None:
    implementer, part = block.get("CPU implementer"), block.get("CPU part")
    if implementer is None or part is None:
        return None
    return ARM_PARTS.get((implementer.lower(), part.lower()), f"{implementer}/{part}")
