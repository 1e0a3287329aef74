"""The site that ``make docs`` built: its links, its search, desk and phone; and it asks nothing of other machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import pytest
from built_site import faults
from documented import ROOT
from gather import MARK, digest
from site_server import serve

SITE = ROOT / "build" / "docs" / "site"
RESULTS = "[...document.querySelectorAll('*')].map(e => e.shadowRoot?.textContent ?? '').join('')"
"""The search shows what it found in a shadow tree."""


@pytest.fixture(scope="module")
def site() -> Path:
    if not (SITE / "index.html").is_file():
        pytest.skip("the site is not built here: make docs")
    if (SITE.parent / MARK).read_text(encoding="ascii") != digest():
        pytest.skip("the site was built from other sources: make docs")
    return SITE


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with serve(site, isolated=False) as address:
        yield address


def open_page(browser: chromium.Browser, url: str, **how: Any) -> chromium.Tab:
    tab = browser.open(url, **how)
    tab.wait("document.readyState === 'complete' && !!document.querySelector('h1')")
    return tab


def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > 40
    assert list(faults(site)) == []


def test_a_link_to_nothing_and_a_script_from_elsewhere_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<h1 id="a">A</h1><a href="#a">a</a><a href="#b">b</a><a href="c.html">c</a><a href="https://example.org/">d</a>'
        '<script src="https://example.org/e.js"></script><link rel="canonical" href="https://example.org/">'
    )
    assert list(faults(tmp_path)) == [
        "index.html loads https://example.org/e.js",
        "index.html: #b leads to no anchor",
        "index.html: c.html leads to no file",
    ]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("saturation", "When another processor answers something else"),
        ("max-drop", "edgecvx validate"),
        ("raspberry", "Raspberry Pi"),
        ("nothing-of-the-kind", "No results"),
    ],
)
def test_the_search_finds_what_one_looks_for(browser: chromium.Browser, address: str, word: str, found: str) -> None:
    tab = open_page(browser, f"{address}/index.html")
    tab.click(".md-search__button")
    tab.wait("document.activeElement !== document.body")
    tab.call("Input.insertText", text=word)
    tab.wait(f"({RESULTS}).includes({found!r})")
    assert [url for url in tab.urls if not url.startswith((address, "data:", "blob:"))] == []
    tab.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desk"])
@pytest.mark.parametrize("page", ["index", "docs/command-line", "docs/api"])
def test_a_page_fits_its_window_and_complains_of_nothing(
    browser: chromium.Browser, address: str, page: str, width: int, dark: bool
) -> None:
    tab = open_page(browser, f"{address}/{page}.html", width=width, dark=dark)
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    light = tab.run("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g)[0] > 127")
    assert light is not dark
    assert tab.console == []
    tab.close()
