"""Where the engine runs, as data: each platform's name, its compiler flags, and what its files are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from edgecvx.board.platforms import machine, name_of
from edgecvx.errors import UsageError, one_of

Kind = Literal["library", "source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One kind of system and processor the engine is built for."""

    name: str
    """What a user types, and what stands in the names of its files."""
    runs_on: str
    """The systems and processors, in words."""
    kind: Kind = "library"
    """A library is loaded as it is; a source is one C file, and its header, to add to a project."""
    endings: tuple[str, ...]
    target: str = ""
    """As zig names it, with the oldest version of the system; none for a source, whose project has a compiler."""
    cpu: str = ""
    """The least processor, as zig names it. Kernels for newer ones are in the library too, and chosen when it runs."""
    flags: tuple[str, ...] = ()
    """How its library is linked, and how a function is made visible in it."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of its files, behind an artifact's stem: ``.x86_64-linux.so``."""
        return tuple(f".{self.name}{ending}" for ending in self.endings)


_VISIBLE = '-DECVX_API=__attribute__((visibility("default")))'
_STRIPPED = ("-shared", "-s")
_UNIX = (*_STRIPPED, "-fPIC", _VISIBLE)
# No soname: the loader takes two libraries of one soname for the same, and two artifacts may bring two engines.
# No build id: a linker may make one of where it ran. Both libraries are part of libc since glibc 2.34, and not before.
_LINUX = (*_UNIX, "-Wl,--build-id=none", "-lm", "-lpthread")
# The linker would write the place it wrote the file to.
_MACOS = (*_UNIX, "-Wl,-install_name,@rpath/libedgecvx.dylib")
_WINDOWS = (*_STRIPPED, "-DECVX_API=__declspec(dllexport)")
# Exported is what ECVX_API marks, as elsewhere. What is not defined is an error of the linker: nothing is imported.
# A page loads it before anything else: for size, which takes a fifth of it away and no time that could be measured.
_WASM = ("-Os", "-s", _VISIBLE, "-DECVX_FREESTANDING", "-Wl,--no-entry", "-rdynamic")
# Memory is the caller's, who shares it with the threads it lends: as much as an engine may ever ask for is told here,
# and how much a browser shall keep free for it by who makes it.
_SHARED = ("-Wl,--import-memory", "-Wl,--shared-memory", "-Wl,--max-memory=4294901760")
_SOURCE = (".c", ".h")


def _wasm(name: str, runs_on: str, features: str = "", *, flags: tuple[str, ...] = ()) -> Platform:
    """WebAssembly with SIMD and more."""
    return Platform(
        name=name,
        runs_on=runs_on,
        endings=(".wasm",),
        target="wasm32-freestanding",
        cpu=f"generic+simd128+bulk_memory{features}",
        flags=(*_WASM, *flags),
    )


_ALL = (
    Platform(
        name="x86_64-linux",
        runs_on="Linux with glibc 2.17 or newer, x86-64",
        endings=(".so",),
        target="x86_64-linux-gnu.2.17",  # of 2012, the oldest that Python's own wheels are built for
        cpu="x86_64",
        flags=_LINUX,
    ),
    Platform(
        name="aarch64-linux",
        runs_on="Linux with glibc 2.17 or newer, 64-bit Arm: Raspberry Pi, Jetson",
        endings=(".so",),
        target="aarch64-linux-gnu.2.17",
        cpu="generic",
        flags=_LINUX,
    ),
    Platform(
        name="x86_64-linux-musl",
        runs_on="Linux with musl, x86-64: Alpine",
        endings=(".so",),
        target="x86_64-linux-musl",
        cpu="x86_64",
        flags=_LINUX,
    ),
    Platform(
        name="aarch64-linux-musl",
        runs_on="Linux with musl, 64-bit Arm: Alpine, OpenWrt",
        endings=(".so",),
        target="aarch64-linux-musl",
        cpu="generic",
        flags=_LINUX,
    ),
    Platform(
        name="aarch64-macos",
        runs_on="macOS 11 or newer, Apple silicon",
        endings=(".dylib",),
        target="aarch64-macos.11.0",
        cpu="apple_m1",
        flags=_MACOS,
    ),
    Platform(
        name="x86_64-macos",
        runs_on="macOS 10.15 or newer, Intel",
        endings=(".dylib",),
        target="x86_64-macos.10.15",
        cpu="x86_64",
        flags=_MACOS,
    ),
    Platform(
        name="x86_64-windows",
        runs_on="Windows 10 or newer, x86-64",
        endings=(".dll",),
        target="x86_64-windows-gnu",
        cpu="x86_64",
        flags=_WINDOWS,
    ),
    _wasm("wasm32", "browsers, Node.js and WebAssembly runtimes with SIMD"),
    _wasm("wasm32-relaxed", "browsers and Node.js with relaxed SIMD: Chrome 114, Firefox 145", "+relaxed_simd"),
    _wasm(
        "wasm32-threads",
        "browsers that isolate the page and Node.js, with threads that JavaScript lends",
        "+atomics",
        flags=_SHARED,
    ),
    _wasm("wasm32-relaxed-threads", "the same with threads", "+relaxed_simd+atomics", flags=_SHARED),
    Platform(name="source", runs_on="whatever gcc or clang builds for", kind="source", endings=_SOURCE),
    Platform(name="aarch64-android", runs_on="Android, 64-bit Arm", kind="source", endings=_SOURCE),
    Platform(name="x86_64-android", runs_on="Android's emulator on x86-64", kind="source", endings=_SOURCE),
    Platform(name="aarch64-ios", runs_on="iPhone, iPad", kind="source", endings=_SOURCE),
)

PLATFORMS: Mapping[str, Platform] = MappingProxyType({platform.name: platform for platform in _ALL})
"""In the order they are shown."""


_SUFFIXES = tuple(suffix for platform in _ALL for suffix in platform.suffixes)


def is_for_platform(name: str) -> bool:
    """Whether a file of an artifact is the engine for a platform, by its name or what follows the artifact's stem."""
    return name.endswith(_SUFFIXES)


def get_platform(name: str) -> Platform:
    """The platform of this name.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    if name not in PLATFORMS:
        raise one_of("platform", name, tuple(PLATFORMS))
    return PLATFORMS[name]


def this_platform() -> Platform:
    """The platform of the running Python.

    Raises:
        UsageError: The engine is built for no such machine; the message names those it is built for.
    """
    system, processor, bits, musl = machine()
    return platform_of(system, processor, bits=bits, musl=musl)


def platform_of(system: str, processor: str, *, bits: int = 64, musl: bool = False) -> Platform:
    """The platform of a machine as Python describes it; see ``edgecvx.board.platforms``.

    Raises:
        UsageError: There is none; the message names those there are.
    """
    name = name_of(system, processor, bits, musl)
    if name is None:
        described = f"{system}, {processor}, {bits} bits"
        raise UsageError(
            f"the native engine is not built for this machine ({described}), only for {', '.join(PLATFORMS)}"
        )
    return PLATFORMS[name]
