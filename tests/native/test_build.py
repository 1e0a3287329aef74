"""A library is the same bytes wherever it is built, is built once, shows its interface, and asks for an old system.

Here for this machine and for WebAssembly; for every platform in ``every_platform.py``.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecvx.errors import ExportError, RuntimeUnavailableError, UsageError
from edgecvx.native import build as building
from edgecvx.native.build import WARNINGS, build, check_platforms, libraries
from edgecvx.native.compilers import Compiler, compile_file
from edgecvx.native.platforms import PLATFORMS, Platform, this_platform
from edgecvx.native.sources import amalgamation, public_header

WASM = PLATFORMS["wasm32"]
WASM_THREADS = PLATFORMS["wasm32-relaxed-threads"]
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(autouse=True)
def zig() -> None:
    pytest.importorskip("ziglang")


def answer(library: bytes, folder: Path) -> float:
    """What a library of this machine answers to 5, which is 23."""
    path = folder / f"engine{this_platform().endings[0]}"
    path.write_bytes(library)
    function = ctypes.CDLL(str(path)).ecvx_answer
    function.restype = ctypes.c_double
    return float(function(5))


def test_the_library_of_this_machine_can_be_loaded_and_answers(engine: Path, tmp_path: Path) -> None:
    assert answer(build(this_platform(), folder=engine, options=WARNINGS), tmp_path) == 23


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc is installed")
def test_so_does_the_one_of_the_systems_compiler(engine: Path, tmp_path: Path) -> None:
    assert answer(build(this_platform(), folder=engine, compiler="cc", options=WARNINGS), tmp_path) == 23


@pytest.mark.parametrize(
    "platform", [this_platform(), WASM, WASM_THREADS], ids=["here", "wasm32", "wasm32-relaxed-threads"]
)
def test_the_same_sources_in_another_folder_on_another_day_are_the_same_bytes(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: Platform
) -> None:
    first = build(platform, folder=engine)
    engine.rename(tmp_path / "elsewhere")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "another cache"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert build(platform, folder=tmp_path / "elsewhere") == first
    assert str(tmp_path).encode() not in first


def test_other_sources_are_other_bytes(engine: Path) -> None:
    first = build(WASM, folder=engine)
    (engine / "squares.h").write_text((engine / "squares.h").read_text().replace("+=", "-="))
    assert build(WASM, folder=engine) != first


def test_what_a_user_has_set_for_other_compilers_changes_nothing(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "math.h").write_text("#error the user's own")
    monkeypatch.setenv("CPATH", str(tmp_path / "mine"))
    assert build(this_platform(), folder=engine)


def glibc(library: bytes) -> list[tuple[int, ...]]:
    """The versions of glibc whose symbols a library needs, from the names in its table of strings."""
    return sorted({tuple(map(int, version.split(b"."))) for version in re.findall(rb"GLIBC_([\d.]+)\0", library)})


def test_the_library_for_linux_needs_nothing_newer_than_glibc_2_17(engine: Path) -> None:
    library = build(PLATFORMS["x86_64-linux"], folder=engine)
    assert glibc(library)[0] >= (2, 2, 5) and glibc(library)[-1] <= (2, 17)
    assert b"libgcc_s" not in library
    assert glibc(b"\0GLIBC_2.2.5\0GLIBC_2.34\0")[-1] > (2, 17)


def numbers(content: bytes, at: int) -> tuple[int, int]:
    """An integer as WebAssembly writes it, and where it ends."""
    value = shift = 0
    while True:
        byte, at = content[at], at + 1
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, at


def sections(module: bytes) -> dict[int, bytes]:
    """The numbered sections of a WebAssembly module."""
    assert module[:8] == b"\0asm\1\0\0\0"
    found, at = {}, 8
    while at < len(module):
        kind, (size, at) = module[at], numbers(module, at + 1)
        found[kind], at = module[at : at + size], at + size
    return found


def exported_functions(module: bytes) -> set[str]:
    """The functions a WebAssembly module shows."""
    content = sections(module)[7]
    count, at = numbers(content, 0)
    names = set()
    for _ in range(count):
        size, at = numbers(content, at)
        name, kind = content[at : at + size].decode(), content[at + size]
        _, at = numbers(content, at + size + 1)
        names |= {name} if kind == 0 else set()
    return names


def test_webassembly_shows_what_is_marked_and_asks_for_nothing(engine: Path) -> None:
    module = build(WASM, folder=engine, options=WARNINGS)
    assert exported_functions(module) == {"ecvx_version", "ecvx_answer"}
    assert 2 not in sections(module)  # the imports


def test_webassembly_with_threads_asks_for_their_memory_alone(engine: Path) -> None:
    """And says how large it may become, as shared memory has to; whoever makes it may grant less."""
    module = build(WASM_THREADS, folder=engine, options=WARNINGS)
    assert exported_functions(module) == {"ecvx_version", "ecvx_answer"}
    imports, memory = sections(module)[2], b"\1\3env\6memory\2\3"  # one import: a memory, with a limit, shared
    assert imports.startswith(memory)
    _, at = numbers(imports, len(memory))
    assert numbers(imports, at) == (65535, len(imports))


def test_a_function_nobody_has_is_noticed_before_a_browser_asks_for_it(engine: Path) -> None:
    text = (engine / "engine.c").read_text()
    (engine / "engine.c").write_text(f"double nobodys(double, double);\n{text}".replace("power(2.0", "nobodys(2.0"))
    with pytest.raises(ExportError, match=r"cannot be built for wasm32: .*undefined symbol: nobodys"):
        build(WASM, folder=engine)


def test_an_error_of_the_compiler_is_one_sentence(engine: Path) -> None:
    (engine / "sums.c").write_text("int a = b;\nint c = d;\n")
    with pytest.raises(ExportError, match=r"^the native engine cannot be built for wasm32: .*error: .*'b'[^\n]*$"):
        build(WASM, folder=engine)


def test_a_warning_is_an_error_for_whoever_works_on_the_engine_and_none_for_a_user(engine: Path) -> None:
    with (engine / "sums.c").open("a") as stream:
        stream.write("static int unused;\n")
    assert build(WASM, folder=engine)
    with pytest.raises(ExportError, match="unused"):
        build(WASM, folder=engine, options=WARNINGS)


def test_a_compiler_that_hangs_is_ended(tmp_path: Path) -> None:
    program = tmp_path / "hangs"
    program.write_text("#!/bin/sh\nsleep 600 &\nwait\n")
    program.chmod(0o755)
    with pytest.raises(ExportError, match=r"for wasm32 took more than 0\.1 s and was stopped"):
        compile_file(Compiler(name="cc", program=str(program), version=""), WASM, [], tmp_path, limit=0.1)


# The cache.


@pytest.fixture
def no_compiling(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, nothing can be compiled any more."""

    def refuse(*_: object) -> None:
        raise ExportError("compiled once more")

    return lambda: monkeypatch.setattr(building, "compile_file", refuse)


def kept(cache: Path) -> Path:
    """The one library that was kept."""
    (path,) = (cache / "native").iterdir()
    return path


def test_a_library_is_compiled_once(engine: Path, no_compiling: Callable[[], None]) -> None:
    first = build(WASM, folder=engine)
    no_compiling()
    assert build(WASM, folder=engine) == first


def test_another_flag_platform_or_source_is_another_library(engine: Path, no_compiling: Callable[[], None]) -> None:
    build(WASM, folder=engine)
    no_compiling()
    for platform, options in [(WASM, ("-O1",)), (dataclasses.replace(WASM, cpu="generic"), ())]:
        with pytest.raises(ExportError, match="compiled once more"):
            build(platform, folder=engine, options=options)
    (engine / "sums.c").write_text((engine / "sums.c").read_text() + "\n")
    with pytest.raises(ExportError, match="compiled once more"):
        build(WASM, folder=engine)


@pytest.mark.parametrize("damage", ["cut", "changed", "writable by others"])
def test_a_kept_library_that_is_damaged_or_not_the_users_is_not_used(
    engine: Path, own_cache: Path, no_compiling: Callable[[], None], damage: str
) -> None:
    first = build(WASM, folder=engine)
    path = kept(own_cache)
    if damage == "writable by others":
        path.chmod(0o666)
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + (b"" if damage == "cut" else bytes([content[-1] ^ 1])))
    assert build(WASM, folder=engine) == first  # and kept again, whole
    no_compiling()
    assert build(WASM, folder=engine) == first


def test_where_nothing_can_be_kept_it_is_built_all_the_same(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "file" / "cache"))
    assert build(WASM, folder=engine)


def test_nothing_is_written_but_into_the_cache(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    before = sorted(engine.iterdir())
    build(WASM, folder=engine)
    assert sorted(engine.iterdir()) == before
    assert list((tmp_path / "home").iterdir()) == []


# What an artifact brings.


def test_an_artifact_brings_a_library_or_a_source_with_its_header_per_platform(engine: Path) -> None:
    found = libraries(["aarch64-android", "wasm32", "aarch64-android"], folder=engine)
    assert list(found) == [".aarch64-android.c", ".aarch64-android.h", ".wasm32.wasm"]
    assert found[".wasm32.wasm"] == build(WASM, folder=engine)
    assert found[".aarch64-android.c"].decode() == amalgamation(engine)
    assert found[".aarch64-android.h"].decode() == public_header(engine)
    assert libraries([]) == {}


# What cannot be built here.


def without_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ziglang" else there(name))


def test_without_zig_one_is_told_how_to_get_it(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_zig(monkeypatch)
    with pytest.raises(RuntimeUnavailableError, match=r"ziglang.*pip install 'edgecvx\[native\]'"):
        libraries(["x86_64-linux"], folder=engine)
    with pytest.raises(RuntimeUnavailableError, match=r"edgecvx\[native\]"):
        check_platforms(["aarch64-ios", "wasm32"])


def test_a_source_needs_no_zig(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_zig(monkeypatch)
    check_platforms(["aarch64-ios"])
    assert len(libraries(["aarch64-ios"], folder=engine)) == 2


def test_an_unknown_platform_or_compiler_is_told_what_there_is(engine: Path) -> None:
    with pytest.raises(UsageError, match="unknown platform 'wasm64': did you mean wasm32"):
        libraries(["wasm64"], folder=engine)
    with pytest.raises(UsageError, match="unknown platform 'wasm64'"):
        check_platforms(["wasm32", "wasm64"])
    with pytest.raises(UsageError, match="unknown compiler 'clang': known: zig, cc"):
        build(WASM, folder=engine, compiler="clang")  # type: ignore[arg-type]


def test_the_systems_compiler_builds_for_this_machine_alone(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=f"builds for {this_platform().name}, not for wasm32: zig does"):
        build(WASM, folder=engine, compiler="cc")
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(RuntimeUnavailableError, match="there is no cc on this machine: install gcc or clang"):
        build(this_platform(), folder=engine, compiler="cc")


def test_nothing_is_compiled_for_a_platform_that_gets_the_source(engine: Path) -> None:
    with pytest.raises(UsageError, match="nothing is compiled for aarch64-ios"):
        build(PLATFORMS["aarch64-ios"], folder=engine)
