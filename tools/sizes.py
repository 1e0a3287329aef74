"""How large each room of edgecvx is, and how long its files and functions are.

``--check`` holds them to what keeps a room readable: at most ``MOST_FILES`` files, and ``MOST_SHARE`` of all lines.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_FILES = 15
MOST_SHARE = 0.15
PACKAGE = Path(__file__).parents[1] / "edgecvx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A folder's own Python files."""

    name: str
    files: tuple[int, ...]
    """The lines of each."""
    functions: tuple[int, ...]
    """The lines of each function and method."""

    @property
    def lines(self) -> int:
        """Of all its files."""
        return sum(self.files)


def rooms(package: Path) -> list[Room]:
    """The rooms of a package, the package's own folder first, each by its path in it."""
    folders = sorted({path.parent for path in package.rglob("*.py")})
    return [_room(folder, folder.relative_to(package.parent).as_posix()) for folder in folders]


def _room(folder: Path, name: str) -> Room:
    codes = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    functions = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for code in codes
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return Room(name=name, files=tuple(len(code.splitlines()) for code in codes), functions=tuple(functions))


def table(found: Sequence[Room]) -> str:
    """A line per room, and one for all of them."""
    total = sum(room.lines for room in found)
    lines = [f"{'room':28}{'files':>6}{'lines':>8}{'share':>8}"]
    lines += [f"{r.name:28}{len(r.files):6}{r.lines:8,}{r.lines / total:8.1%}" for r in found]
    lines.append(f"{'all':28}{sum(len(r.files) for r in found):6}{total:8,}{1:8.0%}")
    files, functions = ([size for r in found for size in getattr(r, kind)] for kind in ("files", "functions"))
    for kind, sizes in (("file", files), ("function", functions)):
        tenth = statistics.quantiles(sizes, n=10)[8] if len(sizes) > 1 else sizes[0]
        lines.append(f"lines per {kind}: median {statistics.median(sizes):.0f}, 90th percentile {tenth:.0f}")
    return "\n".join(lines)


def too_large(found: Sequence[Room]) -> list[str]:
    """What is wrong with the house, a sentence per room."""
    total = sum(room.lines for room in found)
    said = [
        f"{room.name} has {len(room.files)} files, and {MOST_FILES} are the most: join what belongs together, or give "
        "it a folder of its own"
        for room in found
        if len(room.files) > MOST_FILES
    ]
    return said + [
        f"{room.name} has {room.lines / total:.1%} of all lines, and {MOST_SHARE:.0%} are the most: it has two jobs"
        for room in found
        if room.lines > MOST_SHARE * total
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Prints the table; the exit code says whether a room is too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a room is too large")
    parser.add_argument("package", type=Path, nargs="?", default=PACKAGE)
    asked = parser.parse_args(words)
    found = rooms(asked.package)
    print(table(found))
    said = too_large(found) if asked.check else []
    for sentence in said:
        print(sentence, file=sys.stderr)
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
