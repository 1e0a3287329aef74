"""The code in the documentation: fences of Markdown, and the commands in them, parsed as the command line would."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main
from command_line import given, verbs

from edgecvx.cli import main as cli
from edgecvx.latency.request import read_choice
from edgecvx.targets import TARGETS

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for pattern in ("*.md", "docs/*.md", "apps/**/*.md", "examples/**/*.md")
    for page in sorted(ROOT.glob(pattern))
    if page.name != "CHANGELOG.md"  # its options may be gone
]
_FENCE = re.compile(r"^( *)```([\w-]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SHELL = frozenset({"", "sh", "bash", "console"})
"""Languages of blocks that are for a shell."""
_PLACEHOLDER = re.compile(r"[A-Z]+(\.\w+)?|….*")
"""What a reader fills in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One block of code."""

    page: Path
    language: str
    text: str


def fences(page: Path) -> Iterator[Fence]:
    """The blocks of a page."""
    for indent, language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        yield Fence(page=page, language=language, text=textwrap.dedent(text) if indent else text)


def commands(text: str) -> Iterator[list[str]]:
    """Every ``edgecvx …`` at the beginning of a line, as words; its line may go on with a backslash or an indent."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        words = line.strip().removeprefix("$ ").split(" # ")[0].split("  #")[0]
        if words.startswith("edgecvx ") and not re.search(r"[│─]|\[--", words):
            yield shlex.split(re.sub(r"\s[|>;&].*", "", words))


def shell_commands(page: Path) -> list[list[str]]:
    """The commands in a page's blocks for a shell."""
    blocks = (fence.text for fence in fences(page) if fence.language in SHELL)
    return [words for text in blocks for words in commands(text)]


def mentioned(page: Path) -> Iterator[list[str]]:
    """The commands in a page's text, between backticks; much of them may be left out.

    "edgecvx engine in Firefox" is a runtime's title, not one of them.
    """
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`(edgecvx (?!engine in )[a-z][^`]*)`", text):
        yield code.split()


def check_mentioned(words: list[str]) -> None:
    """Holds the verb and its options to those there are."""
    named = {flag for one in given(verbs()[words[1]]) for flag in one.flags} | {"--help", "-h"}
    options = {re.sub(r"[=\]…,.;)].*", "", word.lstrip("[")) for word in words[2:] if word.lstrip("[").startswith("--")}
    assert options <= named, f"edgecvx {words[1]} has no {', '.join(sorted(options - named))}"


def check_command(words: list[str]) -> None:
    """Lets the command line parse a command without carrying it out; its targets and runtimes have to exist."""
    group: Any = typer.main.get_command(cli.app)
    verb = group.commands[words[1]]
    with verb.make_context(words[1], list(words[2:])) as context:
        options = context.params
    for text in options.get("runtime") or ():
        read_choice(text)
    named = set((options.get("target") or "tflite").split(","))
    assert {name for name in named if not _PLACEHOLDER.fullmatch(name)} <= set(TARGETS), words
