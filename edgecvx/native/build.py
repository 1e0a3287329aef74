"""The engine's library for a platform: compiled once, kept, and the same bytes wherever it is compiled."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgecvx.board.places import cache_folder, read_trusted
from edgecvx.files import write_atomically
from edgecvx.native.compilers import CompilerName, check_builds_for, compile_file, find_compiler
from edgecvx.native.platforms import Platform, get_platform
from edgecvx.native.sources import ENGINE, amalgamation, public_header

FLAGS = (
    "-std=c11",
    "-O3",
    "-g0",  # no names of folders; whoever debugs adds -g
    "-fvisibility=hidden",  # what ECVX_API marks is the interface, and all there is to see
    "-fno-math-errno",  # a square root is one instruction, not a call that may set errno
    "-fno-trapping-math",  # nobody asks for the flags of floating point, so selections need no branches
    "-ffp-contract=on",  # x * y + z in one expression is one operation where there is one, as the kernels mean it
    "-fno-stack-protector",  # a freestanding platform has nothing to call; every buffer's size stands beside it
)
"""On every platform and for both compilers."""

WARNINGS = ("-Wall", "-Wextra", "-Werror")
"""For whoever works on the engine: in tests and in `make native`. An export is not to fail over what a compiler that
came later warns of."""


def check_platforms(names: Sequence[str]) -> None:
    """Refuses what cannot be built here, before any work is done.

    Raises:
        UsageError: There is no platform of such a name.
        RuntimeUnavailableError: A library is asked for, and zig is not installed.
    """
    platforms = [get_platform(name) for name in names]
    if any(platform.kind == "library" for platform in platforms):
        find_compiler("zig")


def libraries(names: Sequence[str], *, folder: Path = ENGINE) -> Mapping[str, bytes]:
    """What an artifact brings for these platforms: suffix behind its stem -> bytes, in their order.

    Args:
        names: Of the platforms; no name brings no file.
        folder: Of the engine's sources.

    Raises:
        UsageError: There is no platform of such a name.
        RuntimeUnavailableError: A library is asked for, and zig is not installed.
        ExportError: It cannot be built.
    """
    platforms = [get_platform(name) for name in dict.fromkeys(names)]
    return {suffix: content for platform in platforms for suffix, content in _files(platform, folder).items()}


def build(
    platform: Platform, *, folder: Path = ENGINE, compiler: CompilerName = "zig", options: Sequence[str] = ()
) -> bytes:
    """The engine's library for a platform, from the user's cache where it was built before.

    Args:
        platform: One that has a library.
        folder: Of the engine's sources.
        compiler: ``zig``, or ``cc``: the system's own, for this machine alone, whose libraries are not kept.
        options: Further flags, which win over ``FLAGS``.

    Raises:
        UsageError: Nothing is compiled for this platform, or not by this compiler.
        RuntimeUnavailableError: The compiler is not installed.
        ExportError: The sources cannot be compiled.
    """
    check_builds_for(compiler, platform)
    used, source = find_compiler(compiler), amalgamation(folder)
    name = f"edgecvx{platform.endings[0]}"  # which a DLL and a Mac's signature repeat
    arguments = [*FLAGS, *options, "-o", name, "engine.c", *platform.flags]
    key = json.dumps([used.command(platform)[1:], used.version, arguments, source])
    kept = cache_folder() / "native" / f"{platform.name}-{hashlib.sha256(key.encode()).hexdigest()}"
    if used.version and (known := _kept(kept)) is not None:
        return known
    with tempfile.TemporaryDirectory(prefix="edgecvx-native-") as temporary:
        place = Path(temporary)
        (place / "engine.c").write_bytes(source.encode())
        compile_file(used, platform, arguments, place)
        library = (place / name).read_bytes()
    if used.version:
        _keep(kept, library)
    return library


def _files(platform: Platform, folder: Path) -> dict[str, bytes]:
    """What an artifact brings for one platform."""
    if platform.kind == "library":
        return {platform.suffixes[0]: build(platform, folder=folder)}
    source, header = platform.suffixes
    return {source: amalgamation(folder).encode(), header: public_header(folder).encode()}


def _kept(path: Path) -> bytes | None:
    """A library that was kept; None where there is none, it is damaged, or others may write it: it is code."""
    try:
        content = read_trusted(path)
    except OSError:
        return None
    if content is None or hashlib.sha256(content[64:]).hexdigest().encode() != content[:64]:
        return None
    return content[64:]


def _keep(path: Path, library: bytes) -> None:
    """Keeps a library, its SHA-256 before it; where nothing can be written it is built again the next time."""
    with contextlib.suppress(OSError):
        write_atomically(path, hashlib.sha256(library).hexdigest().encode() + library)
        path.chmod(0o644)  # whatever the umask: what others may write is not read again
