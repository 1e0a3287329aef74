"""The consoles of the command line: what a file says is shown, and never obeyed."""

from __future__ import annotations

import io
import re

import pytest
from rich.markup import escape
from rich.table import Table

from edgecvx.cli import show
from edgecvx.web.visits import code


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


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> str:
    """What is said of a link."""
    out = io.StringIO()
    monkeypatch.setattr(show, "log", show.Terminal(file=out, width=60, force_terminal=terminal))
    show.invitation(None, 10).show_link(LINK)
    return out.getvalue()


LINK = f"http://127.0.0.1:8080/#device={'t' * 32}"


def test_a_link_is_shown_whole_with_its_code_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("segno")
    said = shown(monkeypatch, terminal=True)
    assert f"open this in the browser: {LINK}" in said
    assert re.search(r"\x1b\[(97;40|38;2;255;255;255;48;2;0;0;0)m█+", said)  # white on black, whatever its colours are
    assert shown(monkeypatch, terminal=False) == f"open this in the browser: {LINK}\n"


def test_without_the_package_the_link_is_shown_and_how_to_have_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "can_draw", lambda: False)
    said = shown(monkeypatch, terminal=True)
    assert LINK in said and "pip install 'edgecvx[browser]'" in said and "█" not in said


def test_what_a_browser_calls_itself_cannot_speak_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(show, "log", show.Terminal(file=out, width=60))
    show.invitation(None, 10).tell("[bold]\x1b[2Jbrowser")
    assert out.getvalue() == "[bold][2Jbrowser\n"
