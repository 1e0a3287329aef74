"""The static files without comments and types: those are for whoever reads the source, and no phone need load them.

Nothing else is changed, so that what runs in a browser is what stands here, line for line.
"""

from __future__ import annotations

import re

_WHOLE_LINES = re.compile(r"^[ \t]*(?:/\*(?:(?!\*/).)*\*/|//[^\n]*)[ \t]*\n", re.MULTILINE | re.DOTALL)
_TYPE = re.compile(r"/\*\* @type (?:(?!\*/).)*\*/ ?")
"""In the middle of a line, before what is of this type: ``/** @type {Worker} */ (self)``."""
_PATTERNS = {"js": (_WHOLE_LINES, _TYPE), "css": (_WHOLE_LINES,)}


def without_comments(name: str, content: bytes) -> bytes:
    """A static file as it travels; scripts and styles lose the lines that are comments, others are left alone."""
    text = content.decode() if (patterns := _PATTERNS.get(name.rpartition(".")[2], ())) else ""
    for pattern in patterns:
        text = pattern.sub(_removed, text)
    return text.encode() if patterns else content


def _removed(match: re.Match[str]) -> str:
    """Nothing, but where a template literal is open, in which a comment would be text."""
    return match[0] if match.string.count("`", 0, match.start()) % 2 else ""
