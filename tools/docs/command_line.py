"""The reference of the command line, ``docs/command-line.md``, from the definitions the command line itself is made of.

``tests/docs/test_command_line.py`` holds the page to them. After a change: ``python tools/docs/command_line.py``.
"""

from __future__ import annotations

import enum
import inspect
import textwrap
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.models import ArgumentInfo

from edgecvx.cli.main import app

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
WIDTH = 100

HEAD = """\
# The command line

<!-- Written by tools/docs/command_line.py from edgecvx/cli: change it there, then run that. -->

| | |
|---|---|
"""

TAIL = """\
## Exit codes

| code | |
|---|---|
| 0 | done; every gate passed |
| 1 | a gate failed, or could not be decided |
| 2 | an error you can mend, told in one line on standard error |

A run that is stopped or fails leaves nothing half-written, and earlier files as they were. `--json` prints one JSON
object and nothing else on standard output. What MODEL can be: [checkpoints](checkpoints.md).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One argument or option of a verb."""

    flags: tuple[str, ...]
    """As they are written; none for an argument."""
    value: str
    """What is written behind it; empty for a switch."""
    required: bool
    default: str
    help: str

    @property
    def shown(self) -> str:
        """The form in a usage line."""
        flag = self.flags[-1:] if self.default in self.flags else self.flags[:1]  # what is on can be turned off
        text = " ".join(filter(None, (*flag, self.value)))
        return text if self.required else f"[{text}]"


def verbs() -> dict[str, Callable[..., object]]:
    """Name -> the function that carries it out, in the order of ``edgecvx --help``."""
    found = ((command.name, command.callback) for command in app.registered_commands if command.callback)
    return {name or function.__name__.replace("_", "-"): function for name, function in found}


def given(verb: Callable[..., object]) -> list[Given]:
    """What a verb takes, arguments first."""
    kinds = typing.get_type_hints(verb, include_extras=True)
    read = [_read(name, kinds[name], p.default) for name, p in inspect.signature(verb).parameters.items()]
    return sorted((one for one in read if one is not None), key=lambda one: bool(one.flags))


def _read(name: str, kind: Any, default: Any) -> Given | None:
    said = kind.__metadata__[0]
    if said.hidden:
        return None
    bare = _without_none(kind.__origin__)
    is_argument = isinstance(said, ArgumentInfo)
    # Beside Annotated, typer's first argument is a flag too, not a default.
    first = (said.default,) if isinstance(said.default, str) else ()
    written = (*first, *(said.param_decls or ())) or (f"--{name.replace('_', '-')}",)
    flags = () if is_argument else tuple(flag for part in written for flag in part.split("/"))
    return Given(
        flags=flags,
        value=said.metavar or _value(name, bare, is_argument),
        required=default is inspect.Parameter.empty,
        default=flags[0] if default is True else _default(default),
        help=" ".join((said.help or "").replace("\\[", "[").split()),
    )


def _without_none(kind: Any) -> Any:
    """``X`` of ``X | None``."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind


def _value(name: str, kind: Any, is_argument: bool) -> str:
    """What stands for a value that has no name of its own: its choices, or its kind."""
    if kind is bool:
        return ""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "|".join(str(member.value) for member in kind)
    return name.upper() if is_argument else "TEXT"


def _default(default: Any) -> str:
    if default is inspect.Parameter.empty or default is None or isinstance(default, bool):
        return ""
    return str(default.value if isinstance(default, enum.Enum) else default)


def page() -> str:
    """The whole page."""
    rows = "".join(f"| [`{name}`](#edgecvx-{name}) | {_first(verb)} |\n" for name, verb in verbs().items())
    return HEAD + rows + "\n" + "\n".join(_section(name, verb) for name, verb in verbs().items()) + "\n" + TAIL


def _first(verb: Callable[..., object]) -> str:
    """The first sentence of its help."""
    return inspect.cleandoc(verb.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _section(name: str, verb: Callable[..., object]) -> str:
    takes = given(verb)
    usage = textwrap.fill(
        " ".join(["edgecvx", name, *(one.shown.replace(" ", "\0") for one in takes)]),
        width=WIDTH,
        subsequent_indent=" " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace("\0", " ")
    lines = [f"## edgecvx {name}", "", inspect.cleandoc(verb.__doc__ or ""), "", "```text", usage, "```", ""]
    return "\n".join([*lines, "| | | default |", "|---|---|---|", *map(_row, takes), ""])


def _row(one: Given) -> str:
    called = ", ".join(f"`{flag}`" for flag in one.flags)
    value = f"`{_cell(one.value)}`" if one.value else ""
    default = "**required**" if one.required else f"`{_cell(one.default)}`" if one.default else ""
    return f"| {' '.join(filter(None, (called, value)))} | {_cell(one.help)} | {default} |"


def _cell(text: str) -> str:
    """Text that a table's cell holds."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
