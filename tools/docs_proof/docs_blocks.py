"""The blocks of the pages, and the commands in those for a shell, as a reader would type them one after another."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from documented import PAGES, ROOT, SHELL, fences

SHOWN = frozenset({"text"})
"""What is looked at: output, diagrams, the shape of a file."""
PYTHON = "python"
_UNFINISHED = ("unexpected end of file", "unexpected EOF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of a page."""

    page: str
    """From the root of the checkout."""
    number: int
    """From 1, in the order of the page."""
    language: str
    text: str

    @property
    def title(self) -> str:
        """How it is spoken of."""
        return f"{self.page}, block {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What is executed at once: a command of a shell, or the whole of another block."""

    block: Block
    text: str

    @property
    def is_command(self) -> bool:
        """Whether bash is to run it."""
        return self.block.language in SHELL

    @property
    def is_python(self) -> bool:
        """Whether it is Python."""
        return self.block.language == PYTHON

    @property
    def head(self) -> str:
        """Its first line, for a message."""
        return self.text.strip().splitlines()[0]


def blocks(page: Path) -> tuple[Block, ...]:
    """All blocks of a page."""
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    return tuple(
        Block(page=name, number=number, language=fence.language, text=fence.text)
        for number, fence in enumerate(fences(page), 1)
    )


def all_blocks() -> dict[str, tuple[Block, ...]]:
    """Page -> its blocks, for the pages that have any."""
    found = {page.relative_to(ROOT).as_posix(): blocks(page) for page in PAGES}
    return {page: there for page, there in found.items() if there}


def pieces(block: Block) -> Iterator[Piece]:
    """What of a block is executed at once; nothing of what is only shown."""
    if block.language in SHELL:
        for text in commands(block.text):
            yield Piece(block=block, text=text)
    elif block.language not in SHOWN:
        yield Piece(block=block, text=block.text)


def commands(text: str) -> Iterator[str]:
    """The commands of a block as they stand: a line, or as many as bash asks for until one is whole."""
    lines: list[str] = []
    for line in text.splitlines():
        if not lines and (not line.strip() or line.lstrip().startswith("#")):
            continue
        lines.append(line.removeprefix("$ ") if not lines else line)
        if _is_whole("\n".join(lines)):
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _is_whole(text: str) -> bool:
    if text.endswith("\\"):
        return False
    done = subprocess.run(
        ["bash", "-n"], input=f"{text}\n", capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    return not any(word in done.stderr for word in _UNFINISHED)
