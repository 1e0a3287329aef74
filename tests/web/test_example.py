"""The example of a page of one's own: twenty lines that name what is in a picture, in a real browser."""

from __future__ import annotations

import re
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
from edgecvx.runtimes.artifact import Ranked

if TYPE_CHECKING:
    from small_classifier import Exported

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "web"
SAYS = "document.querySelector('output').textContent"
PIXELS, _ = demo.picture(3, size=64)


def page_in(documentation: Path) -> bytes:
    """The page of HTML that one of the documentation shows."""
    (html,) = re.findall(r"```html\n(.*?)```", documentation.read_text(encoding="utf-8"), re.DOTALL)
    return str(html).encode()


@pytest.fixture(scope="module")
def files(site: Exported) -> dict[str, bytes]:
    """A site with the example in it, as its page says."""
    folder = site.path.parent
    exported = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return exported | {
        "mine.html": page_in(EXAMPLE / "README.md"),
        "classify.js": (EXAMPLE / "classify.js").read_bytes(),
    }


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


def likeliest(site: Exported) -> Ranked:
    """What the file names here."""
    with edgecvx.load(site.path) as opened:
        ((first,),) = opened.predict([PIXELS], top=1)
    return first


def test_it_is_short() -> None:
    assert len((EXAMPLE / "classify.js").read_text().splitlines()) <= 22


def test_it_names_what_the_file_names_here(site: Exported, tab: Tab) -> None:
    first = likeliest(site)
    said = choose(tab, site_page.file_of(Image.fromarray(PIXELS), "mine.png"))
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


def test_the_page_of_the_documentation_names_it_too(browser: Browser, site: Exported, files: dict[str, bytes]) -> None:
    with serve(
        {"index.html": page_in(ROOT / "docs" / "web.md")} | {f"site/{name}": content for name, content in files.items()}
    ) as address:
        tab = browser.open(address)
        tab.wait("document.querySelector('input').onchange !== null")
        said = choose(tab, site_page.file_of(Image.fromarray(PIXELS), "mine.png"))
        assert said.startswith(f"{likeliest(site).label} 0.") and said.endswith(" ms")
        tab.close()
