"""Gathers the pages of the documentation's site: all that links lead to from README.md, where it lies here.

So a link works on the site as it does in a checkout, and a page that nothing leads to is not in it. What the nav of
``zensical.toml`` names has to be reached as well. A notebook becomes a page. ``make docs`` calls it, with a Python that
has nothing installed: ``python tools/docs/gather.py FOLDER``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_links import reached

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "zensical.toml"
PACKAGE = ROOT / "edgecvx"
START = ROOT / "README.md"
STYLE = ROOT / "docs" / "site.css"
MARK = "sources.sha256"
"""Beside the site: what it was built from."""


def sources() -> list[Path]:
    """The files of the site, README.md first."""
    return [*(path for path in reached(START) if path.is_file() and path.is_relative_to(ROOT)), STYLE]


def digest() -> str:
    """Of everything the site is made of, the docstrings of the API's pages too."""
    told = hashlib.sha256()
    for path in (*sources(), SETTINGS, *sorted(PACKAGE.rglob("*.py"))):
        told.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return told.hexdigest()


def named(nav: Sequence[Any]) -> Iterator[str]:
    """The pages of a nav, however deep."""
    for entry in nav:
        values = entry.values() if isinstance(entry, Mapping) else [entry]
        for value in values:
            yield from [value] if isinstance(value, str) else named(value)


def gather(folder: Path) -> None:
    """Puts the files into a folder, in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in sources():
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            place.with_suffix(".md").write_text(page_of(path), encoding="utf-8")
        elif path.suffix == ".md":
            place.write_text(path.read_text(encoding="utf-8").replace(".ipynb)", ".md)"), encoding="utf-8")
        else:
            shutil.copyfile(path, place)


def page_of(notebook: Path) -> str:
    """A notebook's cells as Markdown; what they printed is not kept in it."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = [("".join(cell["source"]), cell["cell_type"] == "code") for cell in cells]
    return "\n\n".join(f"```python\n{text}\n```" if code else text for text, code in texts) + "\n"


if __name__ == "__main__":
    gather(Path(sys.argv[1]))
    (Path(sys.argv[1]).parent / MARK).write_text(digest(), encoding="ascii")
