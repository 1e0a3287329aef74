"""The page in a real browser with a camera: what it shows and does, and a sentence for all that can be missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import Browser as Browsers
from browsing import Tab
from chromium import BINARY, CAMERA, Browser
from PIL import Image
from pretended_site import LABELS, model, pretended_site
from site_page import ANSWERS, NOBODY_ASKS, REFUSED, WINNER, file_of, give, opened, seen, text
from site_server import serve
from waiting import wait_until

from edgecvx_live.sources.demo import HOLD, frame

pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium in the path")

ELSEWHERE = "camera.test"
"""A name under which this machine is not this machine: a page from there has no secure context."""
HOSTILE = "<img src=x onerror=\"console.error('run')\"><script>console.error('run')</script>"
SUM = "[...document.querySelector('#still').toDataURL()].reduce((a, b) => (a * 31 + b.charCodeAt(0)) % 1000003, 0)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    flags = (*CAMERA, f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1")
    with Browser(tmp_path_factory.mktemp("browser"), flags) as browser:
        yield browser


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(pretended_site()) as url:
        yield url


# --- the camera --------------------------------------------------------------------------------------------------


def test_frames_are_answered_as_they_come(either: Browsers[Tab], url: str) -> None:
    with opened(either, url) as tab:
        tab.wait(f"{ANSWERS} > 2 && document.querySelectorAll('.bars li').length === 5")
        winner, shares = text(tab, ".winner b"), text(tab, ".bars")
        assert winner in LABELS
        tab.wait(f"{WINNER} !== {json.dumps(winner)}")
        assert text(tab, ".bars") != shares
        tab.wait("document.querySelector('#fact-infer .value').innerText === '10 ms'")
        tab.wait("document.querySelectorAll('.fact svg path').length >= 8 && !isNaN(parseFloat(fps.innerText))")
        assert text(tab, "#state-text") in (
            "Live from the camera",
            "Live from the back camera",
        )  # as a browser pretends
        assert "SHA-256 is equal" in text(tab, "#loaded") and "Apache-2.0" in text(tab, "#loaded")


def test_on_a_first_visit_nobody_is_asked_for_the_camera_unasked(either: Browsers[Tab], url: str) -> None:
    with opened(either, url, before=NOBODY_ASKS) as tab:
        assert text(tab, ".veil-title") == "What does the camera see?"
        assert not tab.run("document.querySelector('video').srcObject")
        tab.click("[data-offer=start]")
        tab.wait(f"{ANSWERS} > 0")
        assert not seen(tab, "#veil")


def test_pause_holds_and_another_camera_is_taken(browser: Browser, url: str) -> None:
    with opened(browser, url) as tab:
        tab.wait(f"{ANSWERS} > 0")
        tab.click("#pause")
        tab.wait("document.querySelector('#pause').ariaLabel === 'Go on'")
        assert text(tab, "#badge") == text(tab, "#state-text") == "Paused"
        shown, answers, at = tab.run(SUM), tab.run(ANSWERS), tab.run("document.querySelector('video').currentTime")
        tab.wait(f"document.querySelector('video').currentTime > {at}")  # the camera goes on, what is shown does not
        assert (tab.run(SUM), tab.run(ANSWERS)) == (shown, answers)
        tab.click("#pause")
        tab.wait(f"{ANSWERS} > {answers}")
        device = "document.querySelector('video').srcObject?.getVideoTracks()[0].label"
        first = tab.run(device)
        tab.wait("document.querySelector('#switch').checkVisibility()")
        tab.click("#switch")
        tab.wait(f"{device} && {device} !== {json.dumps(first)}")


def test_a_page_that_nobody_looks_at_gives_the_camera_back(either: Browsers[Tab], url: str) -> None:
    hide = "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}}); "
    hide += "document.dispatchEvent(new Event('visibilitychange'))"
    with opened(either, url) as tab:
        tab.wait(f"{ANSWERS} > 0")
        track = tab.run(
            "window.track = document.querySelector('video').srcObject.getVideoTracks()[0], track.readyState"
        )
        assert track == "live"
        tab.run(hide.format("true"))
        assert tab.run("track.readyState") == "ended"
        tab.run(hide.format("false"))
        tab.wait("document.querySelector('video').srcObject?.getVideoTracks()[0].readyState === 'live'")
        answers = tab.run(ANSWERS)
        tab.wait(f"{ANSWERS} > {answers}")


def test_a_moving_camera_is_no_cut_and_a_new_scene_is(either: Browsers[Tab], url: str) -> None:
    """As the live app has it, though a browser makes pictures small in a way of its own."""
    numbers = [scene * HOLD + moved for scene in range(4) for moved in (20, 25)]
    frames = [file_of(Image.fromarray(frame(number)).resize((96, 96)), "") for number in numbers]
    script = f"""(async () => {{
      const {{ CutDetector }} = await import("./smoothing.js");
      const detector = new CutDetector(), cuts = [];
      for (const file of [{",".join(frames)}]) cuts.push(detector.cut(await createImageBitmap(file)));
      return cuts;
    }})()"""
    with opened(either, url, before=NOBODY_ASKS) as tab:
        assert tab.run(script) == [False, False, True, False, True, False, True, False]


def test_why_there_is_no_camera(browser: Browser, url: str) -> None:
    reasons = {
        "NotAllowedError": ("The camera was refused", "Allow it for this page"),
        "NotFoundError": ("No camera here", "Plug one in"),
        "NotReadableError": ("The camera is busy", "Another app or page"),
    }
    with opened(browser, url, before=NOBODY_ASKS) as tab:
        offer = "start"
        for error, (title, says) in reasons.items():
            refuse = f"() => Promise.reject(new DOMException('', '{error}'))"
            tab.run(f"navigator.mediaDevices.getUserMedia = {refuse}; 0")
            tab.click(f"[data-offer={offer}]")
            tab.wait(f"document.querySelector('.veil-title').innerText === {json.dumps(title)}")
            assert says in text(tab, ".veil-text")
            assert text(tab, "#state-text") == title
            assert title in text(tab, "#spoken")
            assert seen(tab, "[data-offer=choose]")
            offer = "retry"
        tab.run("delete navigator.mediaDevices.getUserMedia; 0")  # it is there now
        tab.click("[data-offer=retry]")
        tab.wait(f"{ANSWERS} > 0")


def test_over_plain_http_a_picture_is_all_there_is(browser: Browser) -> None:
    with serve(pretended_site(), isolated=False) as url, opened(browser, url.replace("127.0.0.1", ELSEWHERE)) as tab:
        assert text(tab, ".veil-title") == "The camera needs https"
        assert not seen(tab, "[data-offer=start]") and not seen(tab, "[data-offer=retry]")
        assert seen(tab, "[data-offer=choose]")
        assert "over https alone" in text(tab, "#threads .reason")
        assert "over https alone" in text(tab, "#offline")
        tab.run(give("choose"))
        tab.wait(f"{ANSWERS} === 1")


# --- a picture ---------------------------------------------------------------------------------------------------


def test_a_picture_is_answered_once_however_it_comes(either: Browsers[Tab], url: str) -> None:
    with opened(either, url, before=NOBODY_ASKS) as tab:
        for count, how in enumerate(("choose", "drop", "paste"), 1):
            tab.run(give(how))
            tab.wait(f"{ANSWERS} === {count} && !!{WINNER}")
        assert text(tab, "#state-text") == "drawn.png"
        assert seen(tab, "#still") and not seen(tab, "#pause")
        tab.click("#camera")
        tab.wait(f"{ANSWERS} > 3 && document.querySelector('#pause').checkVisibility()")


def test_what_is_no_picture_is_said_and_the_camera_goes_on(browser: Browser, url: str) -> None:
    with opened(browser, url) as tab:
        tab.wait(f"{ANSWERS} > 0")
        tab.run(give("drop", "new File(['no'], 'letter.txt')"))
        wait_until(lambda: "letter.txt is no picture" in text(tab, "#trouble"), "it is said")
        answers = tab.run(ANSWERS)
        tab.wait(f"{ANSWERS} > {answers}")


# --- the network -------------------------------------------------------------------------------------------------


def test_other_networks_take_turns(browser: Browser) -> None:
    models = [model(f"convnextv2_{name}.demo-224-int8", labels=(name, "other")) for name in ("atto", "femto", "pico")]
    with serve(pretended_site(*models)) as url, opened(browser, url) as tab:
        tab.wait(f"{ANSWERS} > 0")
        assert text(tab, "#models .pills").split() == ["atto", "femto", "pico"]
        tab.click("#models label:nth-child(2)")
        tab.click("#models label:nth-child(3)")  # in the middle of loading the other one
        tab.wait(f"{WINNER} === 'pico' || {WINNER} === 'other'")
        assert "pico" in text(tab, "#loaded") and text(tab, ".reading-of span") == models[2]["name"]
        assert tab.run("document.querySelector('#models input:checked').value") == models[2]["name"]


def test_loading_is_told_in_bytes(browser: Browser) -> None:
    with serve(pretended_site(model(holds=True))) as url:
        tab = browser.open(url, before=NOBODY_ASKS)
        for part, loaded in enumerate(("1.3 of 5.2 MB", "2.6 of 5.2 MB", "3.9 of 5.2 MB", "five pictures…"), 1):
            tab.wait(f"document.querySelector('#loading-text').innerText.endsWith('{loaded}')")
            assert tab.run("document.querySelector('#progress').position") == (part / 4 if part < 4 else -1)
            tab.wait("!!window.goOn")
            tab.run("goOn(); window.goOn = null; 0")
        tab.wait("!document.querySelector('#loading').checkVisibility()")
        assert "the likeliest of 7 classes" in text(tab, "#hint")
        tab.close()


def test_a_network_that_fails_its_proof_answers_nothing(browser: Browser) -> None:
    sentence = "femto gave other answers here than where it was made (0.31 of 0.012 allowed); export it again"
    with serve(pretended_site(model(refusal=sentence), model("good"))) as url, opened(browser, url) as tab:
        assert text(tab, ".veil-title") == REFUSED
        assert text(tab, ".veil-text") == sentence
        tab.run(give("drop"))
        assert not tab.run("document.querySelector('video').srcObject"), "the camera stays off"
        assert tab.run(f"[{ANSWERS}, document.querySelectorAll('.bars li').length]") == [0, 0]
        assert not any(seen(tab, f"[data-offer={offer}]") for offer in ("start", "choose", "take"))
        tab.click("#models label:nth-child(2)")  # the other one does answer
        tab.wait("document.querySelector('[data-offer=start]').checkVisibility()")
        tab.run(give("drop"))
        tab.wait(f"{ANSWERS} === 1 && !!{WINNER}")


def test_answers_that_are_no_numbers_are_none(browser: Browser) -> None:
    with serve(pretended_site(model(overflows=True))) as url, opened(browser, url) as tab:
        tab.wait("document.querySelector('#trouble').innerText.includes('answers NaN or infinity')")
        assert tab.run("document.querySelectorAll('.bars li').length") == 0


def test_threads_where_the_page_is_isolated_and_why_not_where_it_is_not(either: Browsers[Tab], url: str) -> None:
    cores = "Object.defineProperty(navigator, 'hardwareConcurrency', {value: 6});"
    with opened(either, url, before=NOBODY_ASKS + cores) as tab:
        assert text(tab, "#threads .pills").split() == ["1", "2", "4"]
        tab.click("#threads label:nth-child(2)")
        tab.wait("document.querySelector('#loaded').innerText.includes('2 threads')")
    with serve(pretended_site(), isolated=False) as alone, opened(either, alone, before=NOBODY_ASKS + cores) as tab:
        assert text(tab, "#threads .reason").startswith("One: ")
        assert not seen(tab, "#threads .pills")


def test_a_browser_that_falsifies_pixels_is_told_of(browser: Browser, url: str) -> None:
    noise = """
      for (const kind of [CanvasRenderingContext2D, OffscreenCanvasRenderingContext2D]) {
        const read = kind.prototype.getImageData;
        kind.prototype.getImageData = function (...where) {
          const data = read.apply(this, where);
          data.data[0] ^= 1;
          return data;
        };
      }"""
    with opened(browser, url, before=NOBODY_ASKS + noise) as tab:
        tab.wait("document.querySelector('#warning').checkVisibility()")
        assert "changes pixels" in text(tab, "#warning")


# --- for everybody -----------------------------------------------------------------------------------------------


def test_what_a_screen_reader_is_told(browser: Browser, url: str) -> None:
    meters = "[...document.querySelectorAll('[role=meter]')]"
    unnamed = "[...document.querySelectorAll('button, a, input')].filter(e => e.checkVisibility() && "
    unnamed += "!e.innerText && !e.ariaLabel && !e.labels?.length).length"
    with opened(browser, url, before=NOBODY_ASKS) as tab:
        tab.run(give("drop"))
        tab.wait(f"{meters}.length === 5 && {meters}.every(m => m.ariaLabel && m.ariaValueNow >= 0)")
        tab.wait("document.querySelector('#still').ariaLabel.startsWith('Picture: ')")
        said = tab.wait("document.querySelector('#spoken').innerText")
        assert any(str(said).startswith(label) for label in LABELS)
        assert tab.run(unnamed) == 0


def test_by_keyboard_alone(browser: Browser, url: str) -> None:
    with opened(browser, url, before=NOBODY_ASKS) as tab:
        reached = []
        for _ in range(4):
            tab.key("Tab")
            reached.append(tab.run("document.activeElement.dataset.offer ?? (document.activeElement.id || 'threads')"))
            ring = "getComputedStyle(document.activeElement.matches('input') ? document.activeElement.nextSibling : "
            assert tab.run(f"{ring}document.activeElement).outlineStyle") == "solid", reached
        assert reached == ["start", "choose", "threads", "measure-open"]
        tab.run("document.querySelector('[data-offer=start]').focus()")
        tab.key("Enter", text="\r")
        tab.wait(f"{ANSWERS} > 0")


@pytest.fixture(scope="module")
def hostile() -> Iterator[str]:
    """Names and labels that are somebody's attempt."""
    labels = [f"{HOSTILE} {i} \u05d0\u05d1\u202e {'endless' * 30}" for i in range(7)]
    with serve(pretended_site(model(HOSTILE, labels=labels), model(f"{'endless' * 30}.ecvx"))) as url:
        yield url


@pytest.mark.parametrize(
    ("width", "height", "how"),
    [(1280, 800, {}), (844, 390, {"dark": True}), (390, 844, {"forced": True}), (320, 568, {"motion": False})],
)
def test_nothing_sticks_out_and_hostile_text_is_text(
    browser: Browser, hostile: str, tmp_path: Path, width: int, height: int, how: dict[str, bool]
) -> None:
    with opened(browser, hostile, width=width, height=height, **how) as tab:
        tab.wait(f"{ANSWERS} > 0")
        assert HOSTILE in text(tab, ".bars .label") and HOSTILE in text(tab, "#loaded")
        assert tab.run("document.querySelectorAll('img, main script').length") == 0
        assert tab.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        small = "[...document.querySelectorAll('button, .pills label')].map(e => e.offsetHeight).filter(Boolean)"
        assert tab.run(f"Math.min(...{small})") >= 36, "for a thumb"
        moving = tab.run("getComputedStyle(document.querySelector('.track i')).transitionDuration")
        assert (moving == "0s") is (how.get("motion") is False)
        tab.run("scrollTo(0, 0)")
        tab.screenshot(tmp_path / "shot.png")
    with Image.open(tmp_path / "shot.png") as image:
        paper = image.convert("L").getpixel((3, 3))
    assert isinstance(paper, int)
    assert how.get("forced") or (paper < 40 if how.get("dark") else paper > 230)


def test_the_camera_rests_while_the_device_is_measured(browser: Browser) -> None:
    panel = b"export function panel(place, site) { place.replaceChildren(`measures ${site}`); }"
    with serve({**pretended_site(), "bench.js": panel}) as url, opened(browser, url) as tab:
        tab.wait(f"{ANSWERS} > 0")
        assert not any(asked.endswith("bench.js") for asked in tab.urls)
        tab.click("#measure-open")
        tab.wait(f"document.querySelector('#measure-panel').innerText === {json.dumps('measures ' + url)}")
        assert not tab.run("document.querySelector('video').srcObject")
        assert text(tab, "#state-text") == "Paused"


def test_opened_by_a_measurement_it_does_nothing_else(browser: Browser) -> None:
    serving = b"export function serve(main, token) { main.replaceChildren(`measures for ${token}`); }"
    with serve({**pretended_site(), "device.js": serving}) as url:
        tab = browser.open(f"{url}#device=a-token")
        tab.wait("document.querySelector('main').innerText === 'measures for a-token'")
        assert not any(
            name in asked for asked in tab.urls for name in ("page.js", "edgecvx.js", "models.json", "sw.js")
        )
        assert tab.console == []
        tab.close()
