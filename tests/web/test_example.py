"""The example of a page of one's own: twenty lines that name what is in a picture, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import site_page
from chromium import Browser, Tab
from PIL import Image
from site_server import POLICY, serve

import edgecvx
from edgecvx.data import demo

if TYPE_CHECKING:
    from small_classifier import Exported

EXAMPLE = Path(__file__).parents[2] / "examples" / "web"
SAYS = "document.querySelector('output').textContent"


@pytest.fixture(scope="module")
def files(site: Exported) -> dict[str, bytes]:
    """A site with the example in it, as its page says."""
    folder = site.path.parent
    exported = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    mine = {"mine.html": "index.html", "classify.js": "classify.js"}
    return exported | {name: (EXAMPLE / source).read_bytes() for name, source in mine.items()}


@pytest.fixture
def tab(browser: Browser, files: dict[str, bytes]) -> Iterator[Tab]:
    with serve(files, isolated=False, headers={"Content-Security-Policy": POLICY}) as address:
        tab = browser.open(f"{address}mine.html")
        tab.wait(f"{SAYS} !== 'Loading…'")
        yield tab
        tab.close()


def choose(tab: Tab, file: str) -> str:
    """Hands a file to the page, as a script makes it; what it says then."""
    before = tab.run(SAYS)
    tab.run(
        f"{{ const data = new DataTransfer(); data.items.add({file}); const input = document.querySelector('input'); "
        "input.files = data.files; input.dispatchEvent(new Event('change')) }"
    )
    tab.wait(f"{SAYS} !== {before!r}")
    return str(tab.run(SAYS))


def test_it_is_short() -> None:
    assert len((EXAMPLE / "classify.js").read_text().splitlines()) <= 22


def test_it_names_what_the_file_names_here(site: Exported, tab: Tab) -> None:
    pixels, _ = demo.picture(3, size=64)
    with edgecvx.load(site.path) as opened:
        ((first, *_),) = opened.predict([pixels], top=3)
    said = choose(tab, site_page.file_of(Image.fromarray(pixels), "mine.png"))
    assert said.startswith(f"{first.label} {100 * first.probability:.0f}%, ") and said.endswith(" ms")
    assert tab.console == []


def test_it_says_why_there_is_no_answer(tab: Tab) -> None:
    said = choose(tab, "new File(['no picture'], 'mine.png', {type: 'image/png'})")
    assert said.startswith("mine.png cannot be read")


def test_it_says_why_there_is_no_model(browser: Browser, files: dict[str, bytes]) -> None:
    with serve({name: content for name, content in files.items() if name != "models.json"}) as address:
        tab = browser.open(f"{address}mine.html")
        tab.wait(f"{SAYS} !== 'Loading…'")
        assert "models.json" in tab.run(SAYS) and tab.run("document.querySelector('input').disabled")
        tab.close()
