"""The live page in a real browser: it shows what is seen, does what it is told, and comes back by itself."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import BINARY, Browser, Tab
from PIL import Image
from pretended import LABELS, Pretended, served
from waiting import wait_until

from edgecvx_live.server import Server

pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium in the path")

HOSTILE = "<img src=x onerror=\"console.error('run')\"><script>console.error('run')</script>"
SUM = "[...document.querySelector('#picture').toDataURL()].reduce((a, b) => (a * 31 + b.charCodeAt(0)) % 1000003, 0)"
"""A number that tells one picture from another."""


@pytest.fixture
def engine() -> Iterator[Pretended]:
    with Pretended().running() as engine:
        yield engine


@pytest.fixture
def server(engine: Pretended) -> Iterator[Server]:
    with served(engine) as server:
        yield server


def text(tab: Tab, selector: str) -> str:
    return str(tab.run(f"document.querySelector({json.dumps(selector)})?.innerText"))


def opened(browser: Browser, server: Server, **how: bool | int) -> Tab:
    """The page, as soon as it shows something."""
    tab = browser.open(server.link, **how)  # type: ignore[arg-type]
    tab.wait("document.querySelectorAll('.bars li').length >= 5")
    return tab


# --- what is seen ------------------------------------------------------------------------------------------------


def test_the_picture_moves_and_the_bars_change(browser: Browser, server: Server) -> None:
    tab = opened(browser, server)
    before, winner = tab.run(SUM), text(tab, ".winner b")
    shares = text(tab, ".bars")
    tab.wait(f"{SUM} !== {before}")
    tab.wait(f"document.querySelector('.bars').innerText !== {json.dumps(shares)}")
    tab.wait(f"document.querySelector('.winner b').innerText !== {json.dumps(winner)}")
    assert text(tab, ".winner b") in LABELS
    tab.wait("document.querySelector('#state-text').innerText === 'Live from drawn pictures'")
    tab.wait("document.querySelectorAll('.fact svg path').length >= 8")  # line and band in each of the four
    tab.wait("document.querySelector('#fact-infer .value').innerText === '50 ms'")
    assert text(tab, "#celsius") == "51 °C"
    assert text(tab, "#memory") == "158 MB"
    assert tab.console == []
    tab.close()


def test_everything_comes_from_here(browser: Browser, server: Server) -> None:
    tab = opened(browser, server)
    tab.run("1")
    assert {address.split("/")[2] for address in tab.urls} == {f"127.0.0.1:{server.port}"}
    tab.close()


def test_what_a_screen_reader_is_told(browser: Browser, server: Server, engine: Pretended) -> None:
    tab = opened(browser, server)
    meters = "[...document.querySelectorAll('[role=meter]')]"
    tab.wait(
        f"{meters}.length === 5 && {meters}.every(m => m.ariaLabel && m.ariaValueNow >= 0 && m.ariaValueNow <= 100)"
    )
    tab.wait("document.querySelector('#picture').ariaLabel.startsWith('Live picture: ')")
    engine.pause(True)  # an answer that has settled is said once
    wait_until(lambda: text(tab, "#badge") == "Paused", "the pause is seen")
    said = tab.wait("document.querySelector('#spoken').innerText")
    assert any(str(said).startswith(label) for label in LABELS)
    unnamed = "[...document.querySelectorAll('button, a, input')].filter(e => !e.innerText && !e.labels?.length).length"
    assert tab.run(unnamed) == 0
    tab.close()


def test_an_answer_that_is_not_of_now_is_shown_as_past(browser: Browser, server: Server, engine: Pretended) -> None:
    """The camera's picture moves on beside it: of a file that fails, or that is not chosen any more."""
    past = "document.querySelector('#answer').classList.contains('past')"
    tab = opened(browser, server)
    tab.wait(f"!{past}")
    engine.halted = True
    engine.error = "fp32: it is left alone now"
    tab.wait(past)
    engine.halted, engine.error = False, None
    tab.wait(f"!{past}")
    engine.halted = True
    engine.active = ("int8",)
    tab.wait(past)
    tab.close()


# --- what it does ------------------------------------------------------------------------------------------------


def test_pause_and_go_on(browser: Browser, server: Server, engine: Pretended) -> None:
    tab = opened(browser, server)
    tab.click("#pause")
    tab.wait("document.querySelector('#pause').ariaPressed === 'true'")
    assert engine.paused
    assert text(tab, "#badge") == "Paused"
    assert text(tab, "#pause") == "Go on"
    tab.click("#pause")
    before = tab.wait("document.querySelector('#pause').ariaPressed === 'false' && " + SUM)
    tab.wait(f"{SUM} !== {before}")
    assert engine.said == [("pause", True), ("pause", False)]
    tab.close()


def test_another_model_and_both_side_by_side(browser: Browser, server: Server, engine: Pretended) -> None:
    tab = opened(browser, server)
    assert text(tab, ".reading-of b") == "FP32"
    tab.click("#first label:nth-child(2)")
    tab.wait("document.querySelector('.reading-of b').innerText === 'INT8'")
    tab.click("#second label:nth-child(2)")
    tab.wait("document.querySelectorAll('.reading').length === 2")
    wait_until(lambda: text(tab, "#ratio") == "INT8 is 2.5× as fast", "the times of both are compared")
    assert text(tab, "#ratio-text") == "20 ms, FP32 takes 50 ms"
    assert text(tab, "#agree-text").startswith("They agree now")
    tab.click("#second label:nth-child(1)")
    tab.wait("document.querySelectorAll('.reading').length === 1")
    assert not tab.run("document.querySelector('#verdict').checkVisibility()")
    assert [ids for _, ids in engine.said] == [("int8",), ("int8", "fp32"), ("int8",)]
    assert tab.console == []
    tab.close()


def test_a_snapshot_is_saved(browser: Browser, server: Server, tmp_path: Path) -> None:
    tab = opened(browser, server)
    tab.save_downloads(tmp_path)
    tab.click("#snapshot")
    # The browser reserves the name with an empty file, and puts the whole one in its place.
    arrived = wait_until(
        lambda: tab.run("1") and [f for f in tmp_path.glob("edgecvx-*.jpg") if f.stat().st_size], "the snapshot arrives"
    )
    (file,) = arrived
    image = Image.open(io.BytesIO(file.read_bytes()))
    assert json.loads(image.info["comment"])["result"]["readings"][0]["model"] == "fp32"
    tab.wait("document.querySelector('#state').dataset.state === 'live'")
    tab.close()


def test_by_keyboard_alone(browser: Browser, server: Server, engine: Pretended) -> None:
    tab = opened(browser, server)
    reached = []
    for _ in range(5):
        tab.key("Tab")
        reached.append(tab.run("document.activeElement.id || document.activeElement.name"))
        ring = "getComputedStyle(document.activeElement.matches('input') ? document.activeElement.nextSibling : "
        assert tab.run(f"{ring}document.activeElement).outlineStyle") == "solid", reached
    assert reached[:4] == ["pause", "snapshot", "first", "second"]
    tab.run("document.querySelector('#first input').focus()")
    tab.key("ArrowRight")
    tab.wait("document.querySelector('.reading-of b').innerText === 'INT8'")
    assert tab.run("document.activeElement.value") == "int8", "the focus stays on what was chosen"
    tab.run("document.querySelector('#pause').focus()")
    tab.key(" ", text=" ")
    wait_until(lambda: tab.run("1") and engine.paused, "the space bar pauses")
    tab.close()


# --- when something is wrong -------------------------------------------------------------------------------------


def test_a_missing_camera(browser: Browser, server: Server, engine: Pretended) -> None:
    tab = opened(browser, server)
    sentence = "there is no camera at /dev/video0; plug one in, or choose another with --source"
    well = engine.source
    engine.source = replace(well, state="missing", sentence=sentence)
    tab.wait("document.querySelector('#veil').checkVisibility()")
    assert text(tab, "#veil-title") == "No camera here"
    assert text(tab, "#veil-text") == sentence
    assert text(tab, "#state-text") == "No camera"
    tab.wait(f"document.querySelector('#spoken').innerText === {json.dumps(sentence)}")
    engine.source = well
    tab.wait("!document.querySelector('#veil').checkVisibility()")
    tab.close()


def test_a_model_that_does_not_run(browser: Browser, server: Server, engine: Pretended) -> None:
    engine.error = "femto-int8.tflite is damaged: its content is not what its manifest says; export it again"
    tab = opened(browser, server)
    tab.wait(f"document.querySelector('#trouble').innerText === {json.dumps(engine.error)}")
    tab.close()


def test_the_app_is_killed_and_started_again(browser: Browser, engine: Pretended) -> None:
    with served(engine) as first:
        tab = opened(browser, first)
    tab.wait("document.querySelector('#veil').checkVisibility()")
    assert text(tab, "#veil-title") == "The app does not answer"
    assert text(tab, "#veil-text").startswith("Trying again in ")
    assert text(tab, "#state-text") == "Not connected"
    assert tab.run("document.querySelector('#pause').disabled && document.querySelector('#retry').checkVisibility()")
    with served(engine, port=first.port):
        tab.wait("!document.querySelector('#veil').checkVisibility()")
        before = tab.run(SUM)
        tab.wait(f"{SUM} !== {before}")
        tab.wait("document.querySelector('#state-text').innerText === 'Live from drawn pictures'")
        # That nobody answered is said by the browser itself; the page has no complaint of its own.
        assert [line for line in tab.console if "ERR_CONNECTION" not in line] == []
        tab.close()


def test_a_view_that_is_shown_late_does_not_hide_that_the_app_is_gone(browser: Browser, engine: Pretended) -> None:
    """Its picture was still being decoded when the connection was lost."""
    with served(engine) as server:
        tab = opened(browser, server)
        tab.run(
            """{
              const decode = createImageBitmap;
              window.createImageBitmap = async (jpeg) => {
                await new Promise((goOn) => (window.goOn = goOn));
                const bitmap = await decode(jpeg);
                window.decoded = true;
                return bitmap;
              };
            }"""
        )
        tab.wait("!!window.goOn")
    veil = "document.querySelector('#veil')"
    tab.wait(f"{veil}.checkVisibility()")
    tab.run(f"new MutationObserver(() => (window.unveiled ||= {veil}.hidden)).observe({veil}, {{attributes: true}})")
    tab.run("goOn()")
    tab.wait("!!window.decoded")
    assert tab.run(f"!window.unveiled && {veil}.checkVisibility()")
    tab.close()


def test_a_link_that_has_become_invalid(browser: Browser, engine: Pretended) -> None:
    """A token is made anew at every start; the page says so instead of trying for ever."""
    with served(engine, token="the-first-token-of-all") as first:
        tab = opened(browser, first)
    with served(engine, port=first.port, token="another-token-entirely"):
        wait_until(lambda: "no longer valid" in text(tab, "#veil-text"), "the page says why")
        tab.close()


def test_the_token_leaves_no_trace_in_the_address(browser: Browser, engine: Pretended) -> None:
    with served(engine, token="a-token_of-24-characters") as server:
        tab = opened(browser, server)
        assert tab.run("location.href") == f"http://127.0.0.1:{server.port}/"
        assert tab.run("document.cookie") == "", "no script can read it"
        assert tab.run("history.length") <= 2, "the way back leads to about:blank, not to the link"
        assert [url for url in tab.urls if "token" in url] == [server.link]
        assert tab.console == []
        tab.close()


# --- text from files, and other screens --------------------------------------------------------------------------


@pytest.fixture
def hostile() -> Iterator[Server]:
    """A file whose labels, name and precision are somebody's attempt."""
    with Pretended(labels=[f"{HOSTILE} {i} {'endless' * 30}" for i in range(7)]).running() as engine:
        engine.models = tuple(replace(model, file=HOSTILE + model.file) for model in engine.models)
        engine.error = HOSTILE
        engine.source = replace(engine.source, name=HOSTILE)
        with served(engine) as server:
            yield server


def test_hostile_text_is_text(browser: Browser, hostile: Server) -> None:
    tab = opened(browser, hostile)
    tab.click("#second label:nth-child(2)")
    tab.wait("document.querySelectorAll('.reading').length === 2")
    assert tab.run("document.querySelectorAll('img, main script').length") == 0
    assert HOSTILE in text(tab, ".bars .label")
    assert HOSTILE in text(tab, ".winner b")
    assert text(tab, "#trouble") == HOSTILE
    assert tab.console == []
    tab.close()


def test_the_console_is_really_heard(browser: Browser, server: Server) -> None:
    """What the test above relies on: a script that gets in is refused by the page's policy, and that is noticed."""
    tab = opened(browser, server)
    tab.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"console.error(1)\">')")
    wait_until(lambda: tab.run("1") and any("Content Security Policy" in line for line in tab.console), "the refusal")
    tab.close()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1000, 700), (768, 1024), (390, 844), (320, 568)])
def test_nothing_sticks_out(browser: Browser, hostile: Server, width: int, height: int) -> None:
    tab = opened(browser, hostile, width=width, height=height)
    tab.click("#second label:nth-child(2)")
    tab.wait("document.querySelectorAll('.reading').length === 2")
    assert tab.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    small = "[...document.querySelectorAll('button:not([hidden]), .button, .pills label')]"
    assert tab.run(f"Math.min(...{small}.filter(e => e.offsetHeight).map(e => e.offsetHeight))") >= 36, "for a thumb"
    tab.close()


@pytest.mark.parametrize("dark", [False, True])
def test_by_day_and_by_night(browser: Browser, server: Server, tmp_path: Path, dark: bool) -> None:
    tab = opened(browser, server, dark=dark)
    tab.screenshot(tmp_path / "shot.png")
    with Image.open(tmp_path / "shot.png") as image:
        paper = image.convert("L").getpixel((5, 5))
    assert isinstance(paper, int)
    assert paper < 40 if dark else paper > 230
    tab.close()


def test_without_motion(browser: Browser, server: Server) -> None:
    moving = "getComputedStyle(document.querySelector('.track i')).transitionDuration"
    tab = opened(browser, server)
    assert tab.run(moving) != "0s"
    tab.close()
    tab = opened(browser, server, motion=False)
    assert tab.run(moving) == "0s"
    tab.close()
