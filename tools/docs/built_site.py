"""Looks through the pages of a built site: whether what they name is there, and what they load from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {"link": "href", "script": "src", "img": "src", "source": "src", "iframe": "src", "object": "data"}
"""Tag -> its attribute whose address a browser fetches by itself."""
_ABOUT = {"canonical", "prev", "next", "alternate"}
"""What a ``link`` may be and is not fetched for."""


class _Page(HTMLParser):
    """The anchors, links and loaded files of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes note of a tag."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in _LOADED and _LOADED[tag] in given and given.get("rel") not in _ABOUT:
            self.loaded.append(given[_LOADED[tag]])


def faults(site: Path) -> Iterator[str]:
    """Links and anchors that lead nowhere, and what is loaded from elsewhere, each with its page."""
    pages = {file.resolve(): _Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}
    for file, page in pages.items():
        name = file.relative_to(site.resolve()).as_posix()
        yield from (f"{name} loads {url}" for url in page.loaded if urlsplit(url).netloc)
        for url in (*page.links, *page.loaded):
            # One page has addresses from the root: a host gives it for whatever is not there, in any folder.
            base = site.resolve() if url.startswith("/") and not url.startswith("//") else file.parent
            if fault := _fault(file, base, url, pages):
                yield f"{name}: {url} {fault}"


def _fault(file: Path, base: Path, url: str, pages: dict[Path, _Page]) -> str:
    """What is wrong with a link; empty where nothing is, or where it leads elsewhere."""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return ""
    target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else file
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "leads to no file"
    page = pages.get(target)
    return "leads to no anchor" if parts.fragment and page and unquote(parts.fragment) not in page.anchors else ""
