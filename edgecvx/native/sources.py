"""The engine as one C file, from which it is compiled everywhere: what is tested is what is shipped.

Each ``#include "…"`` is replaced by the file's text, as the compiler would do it. Nothing else is evaluated, so the one
file serves every platform.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgecvx import __version__
from edgecvx.errors import ExportError

ENGINE = Path(__file__).parent / "engine"
"""The sources, all in one folder."""
TOP = "all.c"
"""Includes every other ``.c``, in the order in which they need each other."""
HEADER = "edgecvx.h"
"""The public one, which a program includes."""

_TITLE = (
    "/* edgecvx {version}: the native engine, {what}.\n"
    " * Copyright 2026 The edgecvx authors\n"
    " * SPDX-License-Identifier: Apache-2.0\n"
    " */\n"
)
# Comments and strings are found only to be passed over: what looks like a directive in them is none. Directives are
# looked for first, since the quotation marks in one are no string.
_TOKENS = re.compile(
    r"""
    ^[ \t]*\#[ \t]*(?:
        include\b[ \t]*(?:"(?P<name>[^"\n]+)"|(?P<system><[^>\n]+>)|(?P<other>[^\n]*))
      | (?P<opens>if|ifdef|ifndef)\b
      | (?P<closes>endif)\b
    )
    | /\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_GUARD = re.compile(r"\s*#[ \t]*ifndef[ \t]+(\w+)[ \t]*\n\s*#[ \t]*define[ \t]+\1\b")


def amalgamation(folder: Path = ENGINE) -> str:
    """The engine as one C file, that includes nothing but the system's headers; always the same for the same sources.

    Raises:
        ExportError: A source is missing, or includes another in a way that cannot be written into one file.
    """
    return _TITLE.format(version=__version__, what="as one C file") + _Text(folder).of(TOP)


def public_header(folder: Path = ENGINE) -> str:
    """The header a program includes that calls the engine."""
    return _TITLE.format(version=__version__, what="what a program calls") + _read(folder, HEADER)


class _Text:
    """Puts the sources of one folder together, and knows which headers need not come again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: set[str] = set()
        self._open: list[str] = []
        """The files that are being included, each by the one before it."""

    def of(self, name: str, *, always: bool = True) -> str:
        """A file with what it includes in it; ``always`` says that no condition stands around it."""
        if name in self._done:
            return ""
        if name in self._open:
            raise ExportError(f"the engine's {' includes '.join([*self._open, name])}: a file cannot be part of itself")
        text = _read(self._folder, name)
        guarded = _is_guarded(text)
        # Its guard stays in it. A header is left out later only where it is certain that the compiler saw it before.
        if guarded and always:
            self._done.add(name)
        self._open.append(name)
        whole = self._replaced(text, depth=-1 if guarded else 0, always=always)
        self._open.pop()
        return f"\n/* ---- {name} ---- */\n\n{whole}"

    def _replaced(self, text: str, *, depth: int, always: bool) -> str:
        """A text with its includes replaced; ``depth`` counts the conditions it is under, its own guard left out."""
        parts, end = [], 0
        for token in _TOKENS.finditer(text):
            depth += bool(token["opens"]) - bool(token["closes"])
            if token["other"] is not None:
                raise ExportError(f"the engine's {self._open[-1]} includes {token['other']!r}: name the file itself")
            if token["name"] is not None:
                parts += [text[end : token.start()], self.of(token["name"], always=always and depth <= 0)]
                end = token.end()
        return "".join([*parts, text[end:]])


def _is_guarded(text: str) -> bool:
    """Whether a file means nothing when it is included again: one condition stands around all of it."""
    bare = _TOKENS.sub(lambda token: " " if token[0].startswith(("/*", "//")) else token[0], text)
    if _GUARD.match(bare) is None:
        return False
    depth = 0
    for token in _TOKENS.finditer(bare):
        depth += bool(token["opens"]) - bool(token["closes"])
        if token["closes"] and depth == 0:
            return not bare[token.end() :].strip()
    return False


def _read(folder: Path, name: str) -> str:
    """A source's text, its lines ended as on every system."""
    if Path(name).name != name:
        raise ExportError(f"the engine's sources lie in one folder, and {name!r} is not in it")
    try:
        text = (folder / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ExportError(f"the engine's source {name} is missing: install edgecvx again") from None
    if re.search(r"^[ \t]*#[ \t]*pragma[ \t]+once\b", text, re.MULTILINE):
        raise ExportError(f"the engine's {name} says #pragma once, which means nothing in one file: give it a guard")
    return text if text.endswith("\n") else text + "\n"
