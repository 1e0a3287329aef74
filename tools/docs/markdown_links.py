"""The links of Markdown files: where they lead, and whether that is there.

Headings have the anchors that code hosts give them, as the site does (``slugify`` in ``zensical.toml``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^()\s>]+)>?[^)]*\)")
_IMAGE = re.compile(r"<(?:img|a)\s[^>]*?(?:src|href)=\"([^\"]+)\"")
_HEADING = re.compile(r"^ {0,3}#{1,6} +(.+?) *#* *$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link to something of this repository."""

    page: Path
    target: Path
    """A file; for a folder that has one, its ``README.md``."""
    anchor: str
    text: str
    """As it is written."""

    @property
    def fault(self) -> str:
        """What is wrong with it; empty where nothing is."""
        if not self.target.is_file():
            return f"{self.page}: ({self.text}) leads to no file"
        if self.anchor and self.target.suffix == ".md" and self.anchor not in anchors(self.target):
            return f"{self.page}: ({self.text}) leads to no heading of {self.target.name}"
        return ""


def links(page: Path) -> Iterator[Link]:
    """The links of a page into this repository; those of other sites are none."""
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    for written in (*_LINK.findall(text), *_IMAGE.findall(text)):
        if re.match(r"[a-z+]+:", written):
            continue
        place, _, anchor = written.partition("#")
        target = (page.parent / place).resolve() if place else page.resolve()
        if (target / "README.md").is_file():
            target /= "README.md"
        yield Link(page=page, target=target, anchor=anchor, text=written)


def anchors(page: Path) -> set[str]:
    """What can stand behind ``#``: each heading's anchor, numbered where two are equal."""
    seen: Counter[str] = Counter()
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        anchor = slug(heading)
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def slug(heading: str) -> str:
    """A heading as an anchor: small letters, no punctuation, dashes for blanks."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")


def reached(start: Path) -> list[Path]:
    """Every file that links lead to, from page to page, the first one first."""
    found = [start.resolve()]
    for page in found:
        if page.suffix == ".md":
            found += dict.fromkeys(link.target for link in links(page) if link.target not in found)
    return found
