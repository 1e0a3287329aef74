"""Texts that come from files and devices, made fit for what they are written into."""

from __future__ import annotations

import json
import re
from typing import TypeVar

from edgecvx.errors import EdgecvxError
from edgecvx.spec import from_json

T = TypeVar("T")


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


def read_result(cls: type[T], text: str, what: str, version: int) -> T:
    """The result that was written as JSON.

    Args:
        cls: Its class.
        text: The JSON.
        what: What such a result is called.
        version: Of its schema, that this edgecvx writes.

    Raises:
        EdgecvxError: The text is something else.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EdgecvxError(f"this is not the JSON of a {what} ({error})") from error
    found = data.get("schema_version") if isinstance(data, dict) else None
    if found != version:
        raise EdgecvxError(
            f"this is a {what} of version {found!r}, this edgecvx reads version {version}: measure again"
        )
    return from_json(cls, data, where=what)
