"""What a page tells, as the events of a runner: the page leaves to this side what is better not taken from a stranger.

Which device it is follows from what the browser said of itself; what a browser cannot know (temperatures, clocks) is
unknown here already, so that a page has no words for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from edgecvx import __version__
from edgecvx.errors import DeviceError, EdgecvxError
from edgecvx.results.latency import Conditions
from edgecvx.results.untrusted import plain
from edgecvx.spec import from_json
from edgecvx.web.visits.browsers import Browser, fingerprint_of
from edgecvx.web.visits.engines import PLATFORMS

_AT = re.compile(r"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\dZ")
_UNKNOWN: Mapping[str, None] = dict.fromkeys(name for name in Conditions.__annotations__ if name != "at")


class Interpreter:
    """Of one browser."""

    def __init__(self, browser: Browser, kept: str | None, facts: Mapping[str, str] = MappingProxyType({})) -> None:
        """Knows the browser.

        Args:
            browser: What it told of itself.
            kept: The word by which it is known again.
            facts: What else is to be said of it as a device.
        """
        self._browser, self._kept, self._facts = browser, kept, facts

    def event(self, told: Mapping[str, Any], device: str) -> Mapping[str, Any]:
        """The runner's event for what a page told.

        Raises:
            DeviceError: It is none that a page of ours sends.
        """
        handler = getattr(self, f"_of_{told.get('event')}", None)
        if handler is None:
            return told
        try:
            changed: Mapping[str, Any] = handler(told)
        except KeyError as error:
            raise _strange(device, told, f"{error} is missing") from None
        except (EdgecvxError, TypeError) as error:
            raise _strange(device, told, str(error)) from None
        return changed

    def _of_fingerprint(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        found = fingerprint_of(self._browser, self._kept)
        return {"event": "fingerprint", "fingerprint": {**found, "facts": {**found["facts"], **self._facts}}}

    def _of_before(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        at = from_json(str, told["at"], where="at")
        if not _AT.fullmatch(at):
            raise EdgecvxError(f"{plain(at, 40)!r} is no moment")
        return {"event": told["event"], "conditions": {"at": at, **_UNKNOWN}}

    _of_after = _of_before

    def _of_opened(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        wasm = told["wasm"]
        if wasm not in PLATFORMS:
            raise EdgecvxError(f"wasm is {plain(str(wasm), 40)!r}")
        error = from_json(float, told["proof_error"], where="proof_error")
        return {
            **{key: told[key] for key in ("event", "id", "load_ns", "first_ns", "threads")},
            "backend": from_json(str, told["kernels"], where="kernels"),
            "arithmetic": None,
            "runtime_version": f"edgecvx {__version__} in {self._browser.short} ({wasm})",
            "recheck": {"here": f"{wasm} in {self._browser.short}", "error": error},
        }


def _strange(device: str, told: Mapping[str, Any], why: str) -> DeviceError:
    return DeviceError(f"{device}: its page sent a strange event {plain(str(told.get('event')), 40)!r}: {why}")
