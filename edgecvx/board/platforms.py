"""Where Python loads a library of the native engine: the systems and processors, and what it is called there."""

from __future__ import annotations

import platform as machine_facts
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        **{f"{processor}-linux": ".so" for processor in ("x86_64", "aarch64")},
        **{f"{processor}-linux-musl": ".so" for processor in ("x86_64", "aarch64")},
        **{f"{processor}-macos": ".dylib" for processor in ("aarch64", "x86_64")},
        "x86_64-windows": ".dll",
    }
)
"""Platform -> how the name of its library ends."""

_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
_PROCESSORS = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def machine() -> tuple[str, str, int, bool]:
    """The running Python's system, processor, bits, and whether its C library is musl."""
    musl = "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE"))
    return sys.platform, machine_facts.machine(), sys.maxsize.bit_length() + 1, musl


def name_of(system: str, processor: str, bits: int, musl: bool) -> str | None:
    """The platform of a machine; None where there is none.

    Args:
        system: ``sys.platform``.
        processor: ``platform.machine()``, which names the kernel's: a 32-bit program may run on it.
        bits: Of the program that would load the library.
        musl: Whether the system's C library is musl.
    """
    name = f"{_PROCESSORS.get(processor.lower())}-{_SYSTEMS.get(system)}" + ("-musl" if musl else "")
    return name if bits == 64 and name in LIBRARIES else None


def library_beside(model: Path, platform: str) -> Path:
    """Where the library of a model lies for a platform: ``a.x86_64-linux.so`` for ``a.ecvx``."""
    return model.with_name(f"{model.stem}.{platform}{LIBRARIES[platform]}")
