"""The compilers of the engine: zig's, which builds for every platform from any, or the system's, for this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgecvx.board.places import cache_folder
from edgecvx.errors import ExportError, RuntimeUnavailableError, UsageError, missing_package, one_of
from edgecvx.native.platforms import Platform, this_platform

CompilerName = Literal["zig", "cc"]
COMPILERS: tuple[CompilerName, ...] = ("zig", "cc")

TIME_LIMIT = 1200.0
"""Seconds for one library. The first for a platform also builds what zig brings of its C library: some seconds, and two
or three minutes for Windows on two busy cores."""

_KEPT = ("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "USERPROFILE", "LOCALAPPDATA")
"""What zig sees of the environment: variables such as CPATH would put something else into a library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A program that compiles C."""

    name: CompilerName
    program: str
    version: str
    """All that a library depends on beside its source and flags; empty where that is more than the program says."""

    def command(self, platform: Platform) -> list[str]:
        """How it is called for a platform."""
        if self.name == "zig":
            return [self.program, "cc", "-target", platform.target, f"-mcpu={platform.cpu}"]
        return [self.program]


def find_compiler(name: str) -> Compiler:
    """The compiler of this name.

    Raises:
        UsageError: There is no such name.
        RuntimeUnavailableError: It is not installed.
    """
    if name not in COMPILERS:
        raise one_of("compiler", name, COMPILERS)
    return _zig() if name == "zig" else _cc()


def check_builds_for(compiler: str, platform: Platform) -> None:
    """Refuses another machine's platform for the system's compiler, and a platform that nothing is compiled for."""
    if platform.kind == "source":
        raise UsageError(
            f"nothing is compiled for {platform.name}: its file is the engine's source, to add to a project"
        )
    if compiler == "cc" and platform != (here := this_platform()):
        raise UsageError(f"the system's compiler builds for {here.name}, not for {platform.name}: zig does")


def compile_file(
    compiler: Compiler, platform: Platform, arguments: Sequence[str], folder: Path, *, limit: float = TIME_LIMIT
) -> None:
    """Runs a compiler in a folder.

    Args:
        compiler: Which.
        platform: For which.
        arguments: With names relative to the folder, so that it leaves no trace in what is written.
        folder: Where the source is, and the library will be.
        limit: Seconds it may take.

    Raises:
        ExportError: It refuses the source, or takes too long.
    """
    command = [*compiler.command(platform), *arguments]
    with tempfile.TemporaryDirectory(prefix="edgecvx-zig-") as local:
        code, said = _run(command, folder, _environment(compiler, Path(local)), limit)
    if code is None:
        raise ExportError(f"building the native engine for {platform.name} took more than {limit:g} s and was stopped")
    if code:
        raise ExportError(f"the native engine cannot be built for {platform.name}: {_reason(said, code)}")


def _zig() -> Compiler:
    """Zig, out of the package of the running Python."""
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise missing_package("ziglang, which builds the native engine,", "native")
    # The program itself: `python -m ziglang` starts it as a child, which outlives its parent where that is stopped.
    program = Path(found.origin).parent / ("zig.exe" if os.name == "nt" else "zig")
    return Compiler(name="zig", program=str(program), version=f"zig {_said(program, 'version')}")


def _cc() -> Compiler:
    """The system's own compiler, whose linker and C library are in no version it says."""
    program = shutil.which("cc")
    if program is None:
        raise RuntimeUnavailableError("there is no cc on this machine: install gcc or clang, or take zig")
    return Compiler(name="cc", program=program, version="")


def _said(program: Path, argument: str) -> str:
    """What a program answers to one argument."""
    try:
        done = subprocess.run([str(program), argument], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailableError(f"{program} cannot be run: {error}; install ziglang again") from None
    return done.stdout.strip()


def _environment(compiler: Compiler, local: Path) -> Mapping[str, str]:
    """What the compiler sees of the environment."""
    if compiler.name == "cc":
        return {**os.environ, "LC_ALL": "C"}
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C", "ZIG_LOCAL_CACHE_DIR": str(local), "ZIG_GLOBAL_CACHE_DIR": str(_zig_cache(local))}


def _zig_cache(local: Path) -> Path:
    """Where zig keeps the C libraries it has built: with what else can be computed again, or nowhere."""
    folder = Path(os.environ.get("ZIG_GLOBAL_CACHE_DIR") or cache_folder() / "zig").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return local / "global"
    return folder


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str], limit: float) -> tuple[int | None, str]:
    """The exit code, None where the time is up, and what was printed; no process is left behind."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # the compiler has children, which are ended with it
    )
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        if process.poll() is None:
            _end(process)
    return process.returncode, said


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a program and the programs it started."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()


def _reason(said: str, code: int) -> str:
    """The first error of a compiler, in one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b", line)]
    return (errors or lines or [f"the compiler ended with exit code {code}"])[0]
