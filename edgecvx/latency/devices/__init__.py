"""Where a benchmark runs: this machine, a board behind ssh, a phone behind adb, a browser that opens a link."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from edgecvx.errors import Page, UsageError, about
from edgecvx.latency.devices.base import Device
from edgecvx.web.visits.invitation import Invitation

LOCAL, BROWSER = "local", "browser"
TRANSPORTS: Mapping[str, str] = MappingProxyType(
    {LOCAL: LOCAL, "ssh": "ssh://user@host[:port]", "adb": "adb://SERIAL", BROWSER: "browser[:N]"}
)
"""Kind -> how it is written. Each is a module here, whose ``open_device`` takes what was written, the command of the
device's Python and the path of LiteRT's ``benchmark_model``; that of browsers, which may be several, has
``open_devices``, which takes what was written and how they are invited."""


def is_browser(text: str) -> bool:
    """Whether browsers are meant, which come to us."""
    return text.partition(":")[0] == BROWSER


def open_browsers(text: str, invitation: Invitation) -> tuple[Device, ...]:
    """The devices that ``browser[:N]`` stands for. Nobody is invited yet.

    Raises:
        UsageError: N is no number of browsers.
    """
    from edgecvx.latency.devices import browser

    return browser.open_devices(text, invitation)


@about(Page.DEVICES)
def open_device(text: str, *, python: str | None = None, adb_benchmark: str | None = None) -> Device:
    """The device of this name, one of ``TRANSPORTS``. Nothing is connected yet.

    Args:
        text: The name.
        python: The command of its Python; None for ``python3``, or on this machine the one that runs now.
        adb_benchmark: Android: the path of LiteRT's ``benchmark_model`` binary for the phone's processor.

    Raises:
        UsageError: There is no such kind of device.
    """
    kind, _, rest = text.partition("://")
    if not (text == LOCAL if kind == LOCAL else kind in TRANSPORTS and rest):
        *most, last = TRANSPORTS.values()
        raise UsageError(f"unknown device {text!r}: it is {', '.join(most)} or {last}")
    transport = importlib.import_module(f"edgecvx.latency.devices.{kind}")
    device: Device = transport.open_device(text, python=python, adb_benchmark=adb_benchmark)
    return device
