"""Texts that come from files and devices, made fit for what they are written into."""

from __future__ import annotations

import re


def shorten(content: str, most: int) -> str:
    """Cut in the middle: both ends of a file's name tell something."""
    if len(content) <= most:
        return content
    keep = most - 1
    return f"{content[: keep - keep // 2]}…{content[len(content) - keep // 2 :]}"


def literal(text: str) -> str:
    """Text that Markdown shows as it is: one line, escaped wherever it could be markup or end a table's cell."""
    line = re.sub(r"([\\`*_{}\[\]()<>#|~&@])", r"\\\1", " ".join(text.split()))
    # Only at the beginning of a line do these make a list or a rule. A backslash before a digit would be shown.
    return re.sub(r"^(\d{0,9})([-+=.)])", r"\1\\\2", line) if re.match(r"[-+=]|\d{1,9}[.)](\s|$)", line) else line


def writable(text: str) -> str:
    """Without what cannot be written as UTF-8: a name may hold half a surrogate pair, which is no character."""
    return text.encode("utf-8", "backslashreplace").decode()
