"""Names of processors, and which of their instructions matter to a network."""

from __future__ import annotations

from pathlib import Path

from edgecvx.onboard.board import cpuinfo

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
    *("sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
)


def cpu_name(root: Path) -> str | None:
    """``AMD EPYC``, ``Cortex-A76``, ``0x41/0xd99`` where nobody here knows the number; ``A + B`` where cores differ."""
    names: list[str] = []
    for block in cpuinfo(root):
        name = block.get("model name") if "vendor_id" in block else _arm_name(block)
        if name and name not in names:
            names.append(name)
    return " + ".join(names) or None


def cpu_features(root: Path) -> tuple[str, ...] | None:
    """Those instructions that every core has, of the ones that make a network faster."""
    lists = [set((b.get("Features") or b.get("flags") or "").split()) for b in cpuinfo(root) if _is_core(b)]
    if not any(lists):
        return None
    shared = set.intersection(*lists)
    return tuple(name for name in _MATTERING if name in shared)


def _arm_name(block: dict[str, str]) -> str | None:
    implementer, part = block.get("CPU implementer"), block.get("CPU part")
    if implementer is None or part is None:
        return None
    return ARM_PARTS.get((implementer.lower(), part.lower()), f"{implementer}/{part}")


def _is_core(block: dict[str, str]) -> bool:
    return "Features" in block or "flags" in block
