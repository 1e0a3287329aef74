"""Which browser it is, by what it tells: nothing is guessed, and whatever comes may be a lie.

Browsers tell less each year. The version of the system is often frozen, a tablet says that it is a desk, and memory
comes in classes: what is not told plainly stays unknown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecvx.errors import EdgecvxError
from edgecvx.results.untrusted import check_json
from edgecvx.spec import from_json

UNNAMED = "an unknown browser"
BROWSER_FACT = "browser"
"""The name under which a fingerprint's facts hold which browser it was."""
TIMER_FACT = "timer"
"""The name under which they hold how coarse its clock is."""
MACHINE = "wasm32"
"""What the engine is compiled for there, whatever processor is below it."""
_MOST_CORES = 1024
_MOST_BRANDS = 16
_VERSION = re.compile(r"\d{1,5}(?:\.\d{1,6}){0,3}")
_BRANDS = {
    "Google Chrome": "Chrome",
    "HeadlessChrome": "Headless Chrome",
    "Microsoft Edge": "Edge",
    "Opera": "Opera",
    "Brave": "Brave",
    "Samsung Internet": "Samsung Internet",
    "Vivaldi": "Vivaldi",
    "Android WebView": "Android WebView",
    "Chromium": "Chromium",
}
"""As a browser calls itself -> as people do; of several that a browser names, the first in this order."""
_AGENTS = (
    ("Edge", r"\b(?:Edg|EdgA|EdgiOS)/"),
    ("Opera", r"\b(?:OPR|OPX)/"),
    ("Samsung Internet", r"\bSamsungBrowser/"),
    ("Firefox", r"\b(?:Firefox|FxiOS)/"),
    ("Headless Chrome", r"\bHeadlessChrome/"),
    ("Chrome", r"\b(?:Chrome|CriOS)/"),
    ("Safari", r"\bVersion/(?=[^ ]+ (?:Mobile/\w+ )?Safari/)"),
)
"""What stands before the version in a user agent. Everybody calls himself Chrome and Safari too: the order decides."""
_SYSTEMS = (
    ("Android", r"\bAndroid (\d+(?:\.\d+)*)"),
    ("iOS", r"\b(?:iPhone|iPod).* OS (\d+(?:_\d+)*) like Mac OS X"),
    ("iPadOS", r"\biPad.* OS (\d+(?:_\d+)*) like Mac OS X"),
    ("Android", r"\bAndroid\b()"),
    ("macOS", r"\bMacintosh\b()"),  # the version has been frozen at 10.15 since; an iPad says the same
    ("Windows", r"\bWindows NT\b()"),  # frozen, too
    ("ChromeOS", r"\bCrOS\b()"),
    ("Linux", r"\bLinux\b()"),
)
_VERSIONED = ("Android", "iOS", "iPadOS", "macOS")
"""Systems whose own version is the one that client hints tell; for Windows they tell another number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """One of the names a browser goes by."""

    brand: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a page tells of its browser; all but the user agent may be missing."""

    user_agent: str
    brands: tuple[Brand, ...] = ()
    platform: str | None = None
    platform_version: str | None = None
    model: str | None = None
    architecture: str | None = None
    cores: int | None = None
    memory_gb: float | None = None
    isolated: bool = False
    relaxed: bool = False
    """Whether it has relaxed SIMD."""
    timer_ns: int | None = None
    """The smallest step of its clock that was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """A browser, as far as it tells."""

    name: str
    """``Chrome``."""
    version: str | None
    system: str | None
    """``Android 14``."""
    told: Told

    @property
    def short(self) -> str:
        """``Chrome 156``."""
        return f"{self.name} {self.version.split('.')[0]}" if self.version else self.name

    @property
    def title(self) -> str:
        """``Chrome 156 on Android 14``."""
        return f"{self.short} on {self.system}" if self.system else self.short


def read_browser(data: object) -> Browser:
    """The browser that a page told of.

    Raises:
        EdgecvxError: A key is unknown or of another type, or a number cannot be.
    """
    told = from_json(Told, check_json(data), where="the browser")
    if len(told.brands) > _MOST_BRANDS:
        raise EdgecvxError(f"the browser: {len(told.brands)} names are more than any browser has")
    if told.cores is not None and not 1 <= told.cores <= _MOST_CORES:
        raise EdgecvxError(f"the browser: {told.cores} processors cannot be")
    if told.timer_ns is not None and told.timer_ns <= 0:
        raise EdgecvxError(f"the browser: a clock that steps by {told.timer_ns} ns cannot be")
    if told.memory_gb is not None and told.memory_gb <= 0:
        raise EdgecvxError(f"the browser: {told.memory_gb:g} GB of memory cannot be")
    name, version = _named(told)
    return Browser(name=name, version=version, system=_system(told), told=told)


def fingerprint_of(browser: Browser, kept: str | None) -> Mapping[str, Any]:
    """The values of ``latency.Fingerprint`` but for the name.

    Args:
        browser: What it tells.
        kept: A random word that this browser keeps for this machine; None where it keeps none, and so cannot be known
            again.
    """
    told = browser.told
    return {
        "id": "unknown" if kept is None else hashlib.sha256(f"edgecvx browser {kept}".encode()).hexdigest()[:16],
        "hostname": None,
        "board": told.model or None,
        "soc": None,
        "cpu": None,
        "machine": MACHINE,
        "cores": told.cores,
        "memory_bytes": None,
        "os": browser.system,
        **dict.fromkeys(("kernel", "python", "numpy", "features", "emulated", "virtual")),
        "facts": _facts(browser),
    }


def step(ns: int) -> str:
    """The step of a clock in words: ``5 µs``, ``1 ms``."""
    return f"{ns / 1e6:g} ms" if ns >= 1_000_000 else f"{ns / 1e3:g} µs"


def _facts(browser: Browser) -> Mapping[str, str]:
    told = browser.told
    known = {
        BROWSER_FACT: f"{browser.name} {browser.version}" if browser.version else browser.name,
        TIMER_FACT: None if told.timer_ns is None else f"steps of {step(told.timer_ns)}",
        "isolated": "yes: threads can be had" if told.isolated else "no: one thread, and a coarser clock",
        "memory class": None if told.memory_gb is None else f"{told.memory_gb:g} GB, as browsers round it",
        "architecture": told.architecture or None,
        "user agent": told.user_agent,
    }
    return {name: value for name, value in known.items() if value}


def _named(told: Told) -> tuple[str, str | None]:
    given = {brand.brand: brand.version for brand in told.brands}
    for brand, name in _BRANDS.items():
        if brand in given:
            return name, _version(given[brand])
    for name, before in _AGENTS:
        if found := re.search(before + r"([\d.]+)", told.user_agent):
            return name, _version(found[1])
    return UNNAMED, None


def _version(text: str) -> str | None:
    found = _VERSION.match(text)
    return found[0] if found else None


def _system(told: Told) -> str | None:
    if told.platform:
        version = _version(told.platform_version or "") if told.platform in _VERSIONED else None
        return f"{told.platform} {version.removesuffix('.0').removesuffix('.0')}" if version else told.platform
    for name, pattern in _SYSTEMS:
        if found := re.search(pattern, told.user_agent):
            return f"{name} {found[1].replace('_', '.')}".strip()
    return None
