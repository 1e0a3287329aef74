"""A Firefox that resists fingerprinting hands out noise for pictures: the page says so, and is right to."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from firefox import BINARY, Browser
from PIL import Image
from pretended_site import pretended_site
from site_page import NOBODY_ASKS, opened, seen, text
from site_server import serve

pytestmark = pytest.mark.skipif(BINARY is None, reason="no firefox-esr in the path")

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
READ = """(async () => {
  const { pixels, falsified } = await import("./pictures.js");
  return [await falsified(), [...(await pixels(await (await fetch("picture.png")).blob())).rgb]];
})()"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, "PNG")
    with serve({**pretended_site(), "picture.png": stream.getvalue()}) as url:
        yield url


def test_noise_in_place_of_pixels_is_told_of_and_only_then(
    firefox: Browser, url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with opened(firefox, url, before=NOBODY_ASKS) as tab:
        assert tab.run(READ) == [None, PICTURE.ravel().tolist()]
        assert not seen(tab, "#warning")
    resists = {"privacy.resistFingerprinting": True}
    with Browser(tmp_path_factory.mktemp("resisting"), resists) as other, opened(other, url, before=NOBODY_ASKS) as tab:
        sentence, rgb = tab.run(READ)
        assert np.mean(np.array(rgb) != PICTURE.ravel()) > 0.9
        assert sentence.startswith("This browser changes pixels that a page reads (")
        assert "Firefox: resistFingerprinting" in sentence
        tab.wait("document.querySelector('#warning').checkVisibility()")
        assert text(tab, "#warning").startswith("This browser changes pixels")
