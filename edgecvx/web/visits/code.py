"""A link as a QR code for a terminal, in half blocks: two rows of the code in a line of text."""

from __future__ import annotations

import importlib.util
import io

PACKAGE = "segno"


def can_draw() -> bool:
    """Whether the package that makes QR codes is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def drawn(link: str) -> str:
    """The code, light on dark as most terminals are, with the quiet zone that cameras need."""
    import segno

    with io.StringIO() as text:
        segno.make(link, error="l", micro=False).terminal(text, border=2, compact=True)
        return text.getvalue()
