"""The HTML report in a real browser: no complaints, every plot, on a desk and on a phone, by day and by night."""

from __future__ import annotations

import html as markup
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import validation_sample as sample
from chromium import BINARY, FLAGS
from PIL import Image

from edgecvx.accuracy.thumbnails import thumbnails
from edgecvx.report.forms import page as form
from edgecvx.report.join import join

pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium in the path")

DARK, LIGHT = "--blink-settings=preferredColorScheme=0", "--blink-settings=preferredColorScheme=1"

Browse = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Opens a page; returns what the browser printed, and what it logged to the console."""

    def run(page: str, *flags: str) -> tuple[str, list[str]]:
        file = tmp_path / "page.html"
        file.write_text(page, encoding="utf-8")
        profile = tmp_path / "profile"
        command = [str(BINARY), *FLAGS, "--enable-logging=stderr", f"--user-data-dir={profile}", *flags, file.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        shutil.rmtree(profile, ignore_errors=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return run


def page() -> str:
    made = sample.validation()
    return form.page(join([made], [], thumbnails=thumbnails(made, "demo")))


def test_no_complaint_and_every_plot(browse: Browse) -> None:
    dom, console = browse(page(), "--dump-dom")
    assert console == []
    # One forest plot over all; of three artifacts cosine, confidence and classes, and two widths of each wide plot.
    assert len(re.findall(r"<svg ", dom)) == 2 + 3 * (3 + 2 * 2)
    assert dom.count('<img src="data:image/jpeg;base64,') == 18
    assert dom.count('class="matrix"') == 3


def test_the_console_is_really_heard(browse: Browse) -> None:
    """The page's own policy refuses what is not in it, and this test would notice."""
    loading = page().replace("<main>", '<main><img src="http://example.invalid/x.png"><script>1</script>')
    _, console = browse(loading, "--dump-dom")
    assert any("Content Security Policy" in line for line in console)


def test_hostile_text_does_nothing(browse: Browse) -> None:
    text = "</title></svg></style><script>console.error('x')</script><img src=x onerror=console.error(1)>"
    dom, console = browse(form.page(join([sample.hostile(text)], [])), "--dump-dom")
    assert console == []
    assert "<script" not in dom
    assert dom.count("<h3") == 4


def test_by_day_and_by_night(browse: Browse, tmp_path: Path) -> None:
    shades = {}
    for scheme in (LIGHT, DARK):
        shot = tmp_path / "shot.png"
        _, console = browse(page(), scheme, f"--screenshot={shot}", "--window-size=1200,1600")
        assert console == []
        with Image.open(shot) as image:
            grey = image.convert("L")
            shades[scheme] = grey.getpixel((5, 5))
            low, high = grey.getextrema()
            assert high - low > 180, "the text stands out from the paper"
    assert shades[LIGHT] > 230
    assert shades[DARK] < 40


@pytest.mark.parametrize("width", [1200, 390, 320])
def test_nothing_sticks_out(browse: Browse, width: int) -> None:
    """The page in a frame of this width: it must not scroll sideways, and each width shows its own plots."""
    outer = f"""<iframe style="width:{width}px;height:1200px;border:0" srcdoc="{markup.escape(page())}"></iframe>
    <script>
    onload = () => {{
      const d = document.querySelector("iframe").contentDocument, root = d.documentElement;
      const seen = [...d.querySelectorAll("svg")].filter(e => e.getBoundingClientRect().width);
      const scales = seen.map(e => e.getBoundingClientRect().width / e.viewBox.baseVal.width);
      const text = parseFloat(d.defaultView.getComputedStyle(d.querySelector("svg text")).fontSize);
      document.title = [root.scrollWidth - root.clientWidth, seen.length, text * Math.min(...scales)].join(" ");
    }}
    </script>"""
    dom, _ = browse(outer, "--dump-dom", "--window-size=1300,1400")
    found = re.search(r"<title>(\S+) (\S+) (\S+)</title>", dom)
    assert found, "the script in the outer page told nothing"
    assert float(found[1]) <= 0, f"{found[1]} pixels stick out at the side"
    assert int(found[2]) == 1 + 3 * 5, "each plot once"
    assert float(found[3]) >= 9, f"the smallest text in a plot is {float(found[3]):.1f} pixels"
