"""The engine as one C file: what the compiler sees of it is what it sees of the many."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecvx import __version__
from edgecvx.errors import ExportError
from edgecvx.native.sources import amalgamation, public_header


def write(folder: Path, **files: str) -> Path:
    """Sources by their names, in which ``_`` stands for the point."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def preprocessed(path: Path, *flags: str) -> str:
    """What a compiler sees of a file: no comment, no directive, every macro replaced."""
    if shutil.which("cc") is None:
        pytest.skip("no cc is installed")
    done = subprocess.run(["cc", "-std=c11", "-E", "-P", *flags, path.name], cwd=path.parent, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return " ".join(done.stdout.decode().split())


def as_one(folder: Path, *flags: str) -> tuple[str, str]:
    """What a compiler sees of the one file, and of the many."""
    (folder / "one.c").write_text(amalgamation(folder), encoding="utf-8")
    return preprocessed(folder / "one.c", *flags), preprocessed(folder / "all.c", *flags)


@pytest.mark.parametrize("flags", [(), ("-DECVX_FREESTANDING",)])
def test_a_compiler_sees_the_same_in_one_file_as_in_many(engine: Path, flags: tuple[str, ...]) -> None:
    one, many = as_one(engine, *flags)
    assert one == many
    assert "squares_d" in one and "ecvx_answer" in one


def test_a_file_that_was_left_out_is_noticed(engine: Path) -> None:
    one, _ = as_one(engine)
    (engine / "squares.h").write_text("")
    assert preprocessed(engine / "all.c") != one


def test_nothing_but_the_system_is_included(engine: Path, tmp_path: Path) -> None:
    text = amalgamation(engine)
    lines = [line for line in text.splitlines() if line.lstrip().startswith("#include")]
    assert lines and all("<" in line for line in lines)
    assert "#line" not in text and str(tmp_path) not in text


def test_a_guarded_header_comes_once_and_another_each_time(engine: Path) -> None:
    text = amalgamation(engine)
    assert text.count("#ifndef PLATFORM_H") == 1
    assert text.count("static REAL NAME") == 2


def test_a_header_under_a_condition_comes_again_where_there_is_none(tmp_path: Path) -> None:
    """The first place is not compiled here: leaving out the second would leave it out altogether."""
    write(tmp_path, a_h="#ifndef A\n#define A\nint a;\n#endif\n")
    write(tmp_path, all_c='#ifdef NEVER\n#include "a.h"\n#endif\n#include "a.h"\n#include "a.h"\n')
    one, many = as_one(tmp_path)
    assert one == many == "int a;"
    assert amalgamation(tmp_path).count("int a;") == 2
    assert as_one(tmp_path, "-DNEVER")[0] == "int a;"


def test_a_header_in_a_header_under_a_condition_is_under_it_too(tmp_path: Path) -> None:
    write(tmp_path, a_h="#ifndef A\n#define A\nint a;\n#endif\n", b_h='#ifndef B\n#define B\n#include "a.h"\n#endif\n')
    write(tmp_path, all_c='#ifdef NEVER\n#include "b.h"\n#endif\n#include "a.h"\n')
    assert as_one(tmp_path) == ("int a;", "int a;")


@pytest.mark.parametrize(
    "text",
    [
        "#ifndef LANES\n#define LANES 4\n#endif\nint NAME[LANES];\n#ifdef NEVER\n#endif\n",
        "#ifndef LANES\nint NAME;\n#endif\n",
        "#define LANES 4\nint NAME;\n",
    ],
    ids=["a default at the head", "no guard defined", "no condition"],
)
def test_what_only_looks_like_a_guard_is_none(tmp_path: Path, text: str) -> None:
    write(tmp_path, k_h=text, all_c='#define NAME a\n#include "k.h"\n#undef NAME\n#define NAME b\n#include "k.h"\n')
    one, many = as_one(tmp_path)
    assert one == many
    assert " a" in one and " b" in one


def test_what_looks_like_a_directive_in_comments_and_strings_is_none(tmp_path: Path) -> None:
    text = '/* Use:\n#include "no.h"\n*/\n// "\nconst char *s = "/*"; const char c = \'"\';\n#include "a.h"\n// */\n'
    write(tmp_path, a_h="int a;\n", all_c=text)
    one, many = as_one(tmp_path)
    assert one == many
    assert one.endswith("int a;")
    assert '#include "no.h"' in amalgamation(tmp_path)


def test_the_same_sources_are_the_same_text_also_with_the_line_ends_of_windows(engine: Path) -> None:
    text = amalgamation(engine)
    for path in engine.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert amalgamation(engine) == text
    assert "\r" not in text


@pytest.mark.parametrize("of", [amalgamation, public_header])
def test_a_file_says_whose_it_is_and_what_may_be_done_with_it(engine: Path, of: Callable[[Path], str]) -> None:
    text = of(engine)
    head = text[: text.index("*/")]
    assert text.startswith("/* edgecvx") and __version__ in head and "SPDX-License-Identifier: Apache-2.0" in head


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('#include "gone.h"\n', r"source gone\.h is missing: install edgecvx again"),
        ('#include "../a.h"\n', r"lie in one folder, and '\.\./a\.h' is not in it"),
        ("#include KERNELS\n", r"all\.c includes 'KERNELS': name the file itself"),
        ('#include "all.c"\n', r"all\.c includes all\.c: a file cannot be part of itself"),
        ("#pragma once\n", r"all\.c says #pragma once"),
    ],
)
def test_what_cannot_be_one_file_is_said_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        amalgamation(write(tmp_path, all_c=text))
