"""What holds for the engine's sources: all are reached, none is long, and hardly anything is kept between calls."""

from __future__ import annotations

import re
from pathlib import Path

import native_programs as programs

from edgecvx.native.sources import ENGINE, amalgamation

MOST_LINES = 2600
"""Of .c files, which the kernels' headers come to."""
LONGEST = 60
"""Lines of a function."""
STATE = {
    "all_shared",  # files that are open, so that handles of one share its packed weights
    "shared_lock",  # around it; once for Windows and once for the others
    "heap_bytes",  # of WebAssembly, which has no other memory
    "lent_threads",  # and of its threads: who may be given work
}
"""All that is kept between calls outside of handles."""
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def texts(folder: Path = ENGINE) -> dict[str, str]:
    return {
        path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()) if path.suffix in (".c", ".h")
    }


def test_every_file_is_part_of_the_one_file() -> None:
    reached = set(re.findall(r"^/\* ---- (\S+\.[ch]) ---- \*/$", amalgamation(), re.MULTILINE))
    assert reached == set(texts())


def functions(text: str) -> dict[str, int]:
    """The lines of each function: what begins in the first column, and ends with a brace there."""
    found, start, name = {}, 0, ""
    for number, line in enumerate(text.splitlines()):
        if re.match(r"[A-Za-z].*\(", line) and not line.startswith(("typedef", "enum")) and not line.endswith(";"):
            start, name = number, line
        if line.startswith("}") and name:
            found[name], name = number - start + 1, ""
    return found


def test_no_function_is_longer_than_a_screen() -> None:
    lines = {name: count for text in texts().values() for name, count in functions(text).items()}
    assert len(lines) > 150
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
    long = "static int f(void) {\n" + "    g();\n" * LONGEST + "}\n"
    assert functions(long) == {"static int f(void) {": LONGEST + 2}


def test_the_engine_is_small() -> None:
    assert sum(len(text.splitlines()) for name, text in texts().items() if name.endswith(".c")) < MOST_LINES


def state_of(text: str) -> set[str]:
    """Names of variables outside of functions that are not constant."""
    bare = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", "", _COMMENT.sub("", text), flags=re.MULTILINE)
    while (flat := re.sub(r"\{[^{}]*\}", "@", bare)) != bare:
        bare = flat
    found = set()
    for statement in re.sub(r"\)\s*@", ");", bare).split(";"):
        declared = statement.partition("=")[0]
        if not declared.strip() or re.search(r"\b(const|typedef|enum|struct \w+ @)|\(|^\s*\S+\s*$", declared):
            continue
        found |= {re.sub(r"\[.*?\]", "", name).split()[-1].strip("*") for name in declared.split(",")}
    return {name for name in found if name.isidentifier()}


def test_nothing_is_kept_between_calls_but_what_is_listed() -> None:
    kept = {name for text in texts().values() for name in state_of(text)} - {"__heap_base"}
    assert kept <= STATE and "all_shared" in kept and "shared_lock" in kept
    text = "static int count = 1;\nstatic const int most = 3;\nint f(void);\nstatic int g(int a) { int b; }\n"
    assert state_of(text) == {"count"}
    assert not re.search(r"^[ \t]+static (?!const|inline)", "\n".join(texts().values()), re.MULTILINE)


def test_a_difference_that_is_none_is_refused(tmp_path: Path) -> None:
    """A broken twin that is not broken would prove nothing."""
    try:
        programs.broken(tmp_path, "all.c", "nowhere", "anywhere")
    except ValueError as error:
        assert "0 times" in str(error)
    else:
        raise AssertionError("nothing was refused")
