"""What another machine says, before anything is done with it: numbers to reckon with, texts that can be shown.

A device may be broken or lie. Its words reach terminals, reports and files of this machine, and its numbers every
statistic; none of those has to be ready for a NaN, a number of a thousand digits or a sequence that clears the screen.
"""

from __future__ import annotations

import reprlib
from typing import Any

from edgecvx.errors import EdgecvxError

LONGEST = 1000
"""Characters of one text; the longest that a runner writes, a sentence with a runtime's own words, has about 500."""
LARGEST = 1 << 62
"""The size of the largest number: as nanoseconds 146 years, as bytes more than any device has."""


def plain(text: str, longest: int = LONGEST) -> str:
    """A text in one line that steers no terminal, cut where it is too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * longest]).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def check_json(value: Any) -> Any:
    """A JSON value with plain texts.

    Raises:
        EdgecvxError: A number in it is infinite, none at all, or of a size that does not occur.
        RecursionError: It is nested as nothing is that makes sense.
    """
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain(str(key)): check_json(content) for key, content in value.items()}
    if isinstance(value, list):
        if set(map(type, value)) == {int}:  # millions of times
            return list(map(check_json, value)) if max(map(abs, value)) > LARGEST else value
        return [check_json(content) for content in value]
    if isinstance(value, int | float) and not abs(value) <= LARGEST:  # nor is a NaN
        raise EdgecvxError(f"it holds the number {reprlib.repr(value)}")
    return value
