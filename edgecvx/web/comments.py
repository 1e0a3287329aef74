"""The static files without comments, types and indents, which whoever reads the source needs and no phone does.

Nothing else is changed, so that what runs in a browser is what stands here, line for line.
"""

from __future__ import annotations

import re

_WHOLE_LINES = re.compile(r"^[ \t]*(?:/\*(?:(?!\*/).)*\*/|//[^\n]*)[ \t]*\n", re.MULTILINE | re.DOTALL)
_TYPE = re.compile(r"/\*\* @type (?:(?!\*/).)*\*/ ?")
"""In the middle of a line, before what is of this type: ``/** @type {Worker} */ (self)``."""
_INDENT = re.compile(r"^\s+", re.MULTILINE)
"""What a line begins with, and lines with nothing else."""
_PATTERNS = {"js": (_WHOLE_LINES, _TYPE, _INDENT), "css": (_WHOLE_LINES, _INDENT)}


def without_comments(name: str, content: bytes) -> bytes:
    """A static file as it travels: of scripts and styles the lines that say something, others as they are."""
    text = content.decode() if (patterns := _PATTERNS.get(name.rpartition(".")[2], ())) else ""
    for pattern in patterns:
        text = pattern.sub(_removed, text)
    return text.encode() if patterns else content


def _removed(match: re.Match[str]) -> str:
    """Nothing, but where a template literal is open, in which a comment would be text."""
    return match[0] if match.string.count("`", 0, match.start()) % 2 else ""
