"""The consoles of the command line: what a file says is shown, and never obeyed."""

from __future__ import annotations

import io

import pytest
from rich.markup import escape
from rich.table import Table

from edgecvx.cli import show


@pytest.mark.parametrize(
    "text", ["\x1b[2Jcat", "\x1b]0;title\x07cat", "\x9b31mcat", "cat\r\b", "\u202ecat", "[red]cat[/]", "cat\x7f"]
)
def test_a_label_cannot_speak_to_the_terminal(text: str) -> None:
    out = io.StringIO()
    console = show.Terminal(file=out, width=60, force_terminal=True)
    table = Table("class", style="red", **show.PLAIN)
    table.add_row(escape(text))
    console.print(table, highlight=False)
    console.print(escape(text), style="bold", highlight=False)
    plain = out.getvalue()
    for own in ("\x1b[1m", "\x1b[31m", "\x1b[1;31m", "\x1b[0m"):  # the styles that were asked for
        plain = plain.replace(own, "")
    assert "cat" in plain
    assert all(c.isprintable() or c == "\n" for c in plain), repr(plain)
