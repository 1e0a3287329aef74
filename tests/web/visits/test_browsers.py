"""Which browser it is, by what it tells: the name people use, the system where it is told, and nothing guessed."""

from __future__ import annotations

from typing import Any

import pytest
from pretended_page import PHONE

from edgecvx.errors import EdgecvxError
from edgecvx.web.visits.browsers import fingerprint_of, read_browser, step

MOZILLA = "Mozilla/5.0"
WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
CHROMIUM = "AppleWebKit/537.36 (KHTML, like Gecko)"


def title(agent: str, **more: Any) -> str:
    return read_browser({"user_agent": agent, **more}).title


@pytest.mark.parametrize(
    ("agent", "title_of_it"),
    [
        (
            f"{MOZILLA} (iPhone; CPU iPhone OS 18_6 like Mac OS X) {WEBKIT} Version/18.6 Mobile/15E148 Safari/604.1",
            "Safari 18 on iOS 18.6",
        ),
        (
            f"{MOZILLA} (iPhone; CPU iPhone OS 18_6 like Mac OS X) {WEBKIT} CriOS/156.0.1 Mobile/15E148 Safari/604.1",
            "Chrome 156 on iOS 18.6",
        ),
        (f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/26.1 Safari/605.1.15", "Safari 26 on macOS"),
        (f"{MOZILLA} (Android 14; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0", "Firefox 145 on Android 14"),
        (f"{MOZILLA} (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox 145 on Linux"),
        (
            f"{MOZILLA} (Windows NT 10.0; Win64; x64) {CHROMIUM} Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0",
            "Edge 156 on Windows",
        ),
        (
            f"{MOZILLA} (Linux; Android 10; K) {CHROMIUM} SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36",
            "Samsung Internet 29 on Android 10",
        ),
        (
            f"{MOZILLA} (X11; Linux x86_64) {CHROMIUM} HeadlessChrome/156.0 Safari/537.36",
            "Headless Chrome 156 on Linux",
        ),
        ("curl/8.5", "an unknown browser"),
    ],
)
def test_a_user_agent_in_words(agent: str, title_of_it: str) -> None:
    assert title(agent) == title_of_it


def test_what_is_told_apart_counts_for_more_than_the_user_agent() -> None:
    """Chrome's user agent has said Android 10 since it was frozen, whatever phone it is on."""
    browser = read_browser(PHONE)
    assert (browser.title, browser.version, browser.told.model) == ("Chrome 156 on Android 14", "156.0.7.8", "Pixel 8")


def test_a_version_that_another_system_counts_otherwise_is_left_out() -> None:
    assert title("x", platform="Windows", platform_version="15.0.0") == "an unknown browser on Windows"


def test_a_browser_is_known_again_by_the_word_it_keeps_and_by_nothing_else() -> None:
    first, again = (fingerprint_of(read_browser({**PHONE, "cores": n}), "word" * 5) for n in (4, 8))
    other = fingerprint_of(read_browser(PHONE), "another word" * 2)
    assert first["id"] == again["id"] != other["id"]
    assert fingerprint_of(read_browser(PHONE), None)["id"] == "unknown"


def test_a_fingerprint_says_what_is_told_and_leaves_the_rest_unknown() -> None:
    found = fingerprint_of(read_browser(PHONE), "word" * 5)
    assert (found["board"], found["os"], found["cores"], found["machine"]) == ("Pixel 8", "Android 14", 8, "wasm32")
    assert {found[name] for name in ("cpu", "soc", "memory_bytes", "kernel", "features", "hostname")} == {None}
    assert found["facts"]["timer"] == "steps of 5 µs"
    assert found["facts"]["browser"] == "Chrome 156.0.7.8"


@pytest.mark.parametrize(("ns", "words"), [(5_000, "5 µs"), (100_000, "100 µs"), (1_000_000, "1 ms")])
def test_how_coarse_a_clock_is(ns: int, words: str) -> None:
    assert step(ns) == words


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cores": 0}, "0 processors cannot be"),
        ({"cores": 10**9}, "1000000000 processors cannot be"),
        ({"timer_ns": -1}, "a clock that steps by -1 ns cannot be"),
        ({"memory_gb": 0}, "0 GB of memory cannot be"),
        ({"brands": [{"brand": "x", "version": "1"}] * 99}, "99 names are more than any browser has"),
        ({"root": True}, "unknown root"),
        ({"user_agent": 7}, "expected str"),
        ({"cores": 10**400}, "it holds the number"),
    ],
)
def test_what_no_browser_tells_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EdgecvxError, match=sentence):
        read_browser({**PHONE, **changes})


def test_a_text_that_would_steer_a_terminal_is_a_plain_one() -> None:
    browser = read_browser({**PHONE, "model": "\x1b[2JPixel\n8", "user_agent": "x" * 5000})
    assert browser.told.model == "[2JPixel 8"
    assert len(browser.told.user_agent) == 1000
