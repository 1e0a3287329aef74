"""The page with the real engine and a real network: it answers as that does elsewhere, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pytest
from browsing import Browser as Browsers
from browsing import Tab
from chromium import BINARY, CAMERA, Browser
from PIL import Image
from site_page import ANSWERS, LOADED, NOBODY_ASKS, REFUSED, WINNER, file_of, give, opened, seen, text
from site_server import serve

from edgecvx.data import demo
from edgecvx.runtimes.artifact import load

if TYPE_CHECKING:
    from small_classifier import Exported

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="no chromium in the path"),
    pytest.mark.usefixtures("native_library"),
]
PICTURES = [Image.fromarray(demo.picture(index, size=96)[0]) for index in (3, 8)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser"), CAMERA) as browser:
        yield browser


def files_of(site: Exported) -> dict[str, bytes]:
    """What the host has, which a test may change."""
    return {
        path.relative_to(site.path.parent).as_posix(): path.read_bytes()
        for path in site.path.parent.rglob("*")
        if path.is_file()
    }


def test_it_answers_as_elsewhere_keeps_itself_and_then_has_threads_and_needs_no_host(
    either: Browsers[Tab], site: Exported
) -> None:
    with load(site.path) as opened_here:
        expected = [ranked[0].label for ranked in opened_here.predict(PICTURES, top=1)]
    assert len(set(expected)) == 2, "pictures that tell nothing"
    with serve(site.path.parent, isolated=False) as url:
        tab = either.open(url, before=NOBODY_ASKS)
        tab.wait(LOADED)
        assert text(tab, "#threads .reason").endswith("load the page again for more.")
        for count, (picture, label) in enumerate(zip(PICTURES, expected, strict=True), 1):
            tab.run(give("drop", file_of(picture, "it.png")))
            tab.wait(f"{ANSWERS} === {count}")
            assert tab.run(WINNER) == label
        tab.wait("document.querySelector('#offline').innerText.startsWith('Kept on this device')")
    assert tab.console == []
    tab.reload()
    tab.wait(f"window.crossOriginIsolated && {LOADED}")
    tab.click("[data-offer=start]")
    tab.wait(f"{ANSWERS} > 1")
    assert "equal" in text(tab, "#loaded") and "differ by" in text(tab, "#loaded")
    assert [line for line in tab.console if "ERR_CONNECTION" not in line] == []
    tab.close()


def refused(browser: Browser, files: Mapping[str, bytes]) -> str:
    """The sentence of a page that gives no answers, even when it is given a picture."""
    with serve(files) as url, opened(browser, url) as tab:
        assert text(tab, "#state-text") == REFUSED
        tab.run(give("drop"))
        assert tab.run(f"[{ANSWERS}, document.querySelectorAll('.bars li').length]") == [0, 0]
        assert not seen(tab, "[data-offer=choose]")
        return text(tab, ".veil-text")


def test_a_wrong_byte_in_the_file_is_found(browser: Browser, site: Exported) -> None:
    files = files_of(site)
    content = bytearray(files[site.path.name])
    content[len(content) // 2] ^= 1
    assert "SHA-256" in refused(browser, {**files, site.path.name: bytes(content)})


def test_answers_beyond_the_limit_are_not_shown(browser: Browser, site: Exported) -> None:
    files = files_of(site)
    listed = json.loads(files["models.json"])
    listed["models"][0]["limit"] = -1.0
    sentence = refused(browser, {**files, "models.json": json.dumps(listed).encode()})
    assert sentence.endswith(listed["models"][0]["remedy"])
