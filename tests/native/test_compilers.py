"""The engine's sources in every compiler at hand, without a warning; also where there is no C library, and in C++."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import native_programs as programs
import pytest

from edgecvx.native.sources import ENGINE, amalgamation, public_header

STRICT = ("-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only")
FREESTANDING = ("-DECVX_FREESTANDING", "-ffreestanding")
PHONES = ("aarch64-linux-android29", "x86_64-linux-android29", "arm64-apple-ios13")
"""Whose C libraries zig has no headers of."""


def said(command: Sequence[str]) -> str:
    """What a compiler has to say; nothing where all is well."""
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    return done.stderr + ("" if done.returncode == 0 else f"ended with {done.returncode}")


def zigs_clang(target: str, *libc: str) -> tuple[str, ...]:
    """The clang in zig, which looks at a source in a third of a second; with headers of a C library that zig brings."""
    if not (command := programs.zig()):
        return ()
    own = Path(command[0]).parent / "lib"
    folders = [own / "include", *(own / "libc" / "include" / name for name in libc)]
    return (command[0], "clang", f"--target={target}", "-nostdinc", *(f"-isystem{folder}" for folder in folders))


def compilers() -> dict[str, tuple[str, ...]]:
    found = {"gcc": programs.gcc(), "clang": programs.clang()}
    musl = zigs_clang("x86_64-linux-musl", "x86_64-linux-musl", "generic-musl")
    arm = zigs_clang("aarch64-linux-musl", "aarch64-linux-musl", "generic-musl")
    here = {name: (program,) for name, program in found.items() if program}
    return here | {"clang for musl": musl, "clang for musl on Arm": arm}


@pytest.mark.parametrize("options", [(), FREESTANDING], ids=["hosted", "freestanding"])
@pytest.mark.parametrize("name", ["gcc", "clang", "clang for musl", "clang for musl on Arm"])
def test_no_compiler_warns(name: str, options: tuple[str, ...]) -> None:
    command = compilers().get(name)
    if not command:
        pytest.skip(f"{name} is not installed")
    assert said([*command, *STRICT, *options, str(ENGINE / "all.c")]) == ""


def test_a_warning_would_be_one(tmp_path: Path) -> None:
    if not programs.here():
        pytest.skip("there is no C compiler")
    folder = programs.broken(
        tmp_path, "engine.c", "int32_t ecvx_version(void) {", "int32_t ecvx_version(void) { int unused;"
    )
    assert "unused" in said([*programs.here(), *STRICT, str(folder / "all.c")])


@pytest.mark.parametrize("target", PHONES)
def test_the_one_file_of_a_phones_project_needs_no_library(tmp_path: Path, target: str) -> None:
    if not programs.zig():
        pytest.skip("ziglang is not installed")
    (tmp_path / "edgecvx.c").write_text(amalgamation(), encoding="utf-8")
    assert said([*zigs_clang(target), *STRICT, *FREESTANDING, str(tmp_path / "edgecvx.c")]) == ""
    (tmp_path / "edgecvx.c").write_text(amalgamation() + "#include <stdio.h>\n", encoding="utf-8")
    assert "stdio.h" in said([*zigs_clang(target), *STRICT, *FREESTANDING, str(tmp_path / "edgecvx.c")])


def test_a_program_in_c_plus_plus_calls_it(tmp_path: Path) -> None:
    # gcc may be there without its C++: zig always brings one.
    gxx, zig = shutil.which("g++"), programs.zig()
    if not (plus := [gxx] if gxx else [*zig[:1], "c++"] if zig else []):
        pytest.skip("there is no C++ compiler")
    (tmp_path / "edgecvx.h").write_text(public_header(), encoding="utf-8")
    source = '#include "edgecvx.h"\nint main() { return ecvx_version() - ECVX_VERSION; }\n'
    (tmp_path / "program.cpp").write_text(source, encoding="utf-8")
    strict = ("-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-c", "-o", str(tmp_path / "program.o"))
    assert said([*plus, *strict, str(tmp_path / "program.cpp")]) == ""
