"""A headless browser, driven through its DevTools: as little of the protocol as the tests of pages need."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import browsing

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


CAMERA = ("--use-fake-device-for-media-stream=device-count=2,fps=20", "--use-fake-ui-for-media-stream")
"""Two cameras that a page gets without asking anybody; what they show moves."""


class Browser(browsing.Browser["Tab"]):
    """One browser process; a context manager."""

    def __init__(self, folder: Path, flags: Sequence[str] = ()) -> None:
        profile = folder / "profile"
        asked = (*FLAGS, *flags, "--remote-debugging-port=0", f"--user-data-dir={profile}")
        super().__init__([str(BINARY), *asked, "about:blank"], profile)

    def open(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        motion: bool = True,
        forced: bool = False,
        before: str = "",
    ) -> Tab:
        """A page in a context of its own: no cookie or cache of another test.

        Args:
            url: Its address.
            width: Of the window; under 600 pixels it is a phone.
            height: Of the window.
            dark: Whether whoever looks wants it dark.
            motion: Whether things may move.
            forced: Whether the system's few colours take the place of the page's.
            before: A script that runs before any of the page's.
        """
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session, context)
        for domain in ("Page", "Runtime", "Log", "Network", "Inspector"):
            tab.call(f"{domain}.enable")
        tab.call("Performance.enable", timeDomain="threadTicks")
        tab.resize(width, height)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "no-preference" if motion else "reduce"},
            {"name": "forced-colors", "value": "active" if forced else "none"},
        ]
        if before:
            tab.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        tab.call("Emulation.setEmulatedMedia", features=features)
        tab.call("Page.navigate", url=url)
        return tab

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer; what the pages tell meanwhile is kept for them."""
        whose = {} if session is None else {"sessionId": session}
        answer = self._ask({"method": method, "params": params, **whose})
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _address(self) -> str:
        told = self._profile / "DevToolsActivePort"
        port, _, path = told.read_text().partition("\n") if told.exists() else ("", "", "")
        return f"ws://127.0.0.1:{port}{path.strip()}" if path else ""

    def _told(self, event: Mapping[str, Any]) -> None:
        if event.get("sessionId") in self._tabs:
            self._tabs[event["sessionId"]].told(event)


class Tab(browsing.Tab):
    """One page."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        super().__init__()
        self._browser, self._session, self._context = browser, session, context
        self.urls: list[str] = []
        """What was asked for over HTTP, in order."""
        self.workers: list[str] = []
        """Sessions of its workers, once ``Target.setAutoAttach`` asks for them."""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command to this page."""
        return self._browser.call(method, self._session, **params)

    def told(self, event: Mapping[str, Any]) -> None:
        """Takes note of an event."""
        params = event["params"]
        if event["method"] == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description", details["text"]))
        elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.console.append(" ".join(str(argument.get("value")) for argument in params["args"]))
        elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.console.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif event["method"] == "Inspector.targetCrashed":
            raise AssertionError("the browser's process for this page crashed: it would never answer")
        elif event["method"] == "Target.attachedToTarget":
            self.workers.append(params["sessionId"])
        elif event["method"] == "Target.detachedFromTarget":
            self.workers.remove(params["sessionId"])
        elif event["method"] == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"].get("exception", {}).get("description", script))
        return answer["result"].get("value")

    def reload(self) -> None:
        """Loads the page again; what is not yet there is waited for by whoever looks at it."""
        self.call("Page.reload")

    def worked(self) -> float:
        """Seconds of a processor that the page took so far, however long it waited for one."""
        metrics = {metric["name"]: metric["value"] for metric in self.call("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    def resize(self, width: int, height: int) -> None:
        """The size of the window; under 600 pixels it is a phone."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def key(self, key: str, *, text: str = "") -> None:
        """Presses a key and lets go of it."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39, "ArrowLeft": 37}
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key], **more)

    def press(self, x: float, y: float) -> None:
        """A click on whatever lies there."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def save_downloads(self, folder: Path) -> None:
        """Where files that the page offers are put."""
        self._browser.call(
            "Browser.setDownloadBehavior", behavior="allow", browserContextId=self._context, downloadPath=str(folder)
        )

    def screenshot(self, file: Path, *, full: bool = False) -> None:
        """The page as it looks now."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        file.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """Closes the page, and forgets its cookies."""
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)
