"""A headless Firefox, driven by WebDriver BiDi: as little of the protocol as the tests of pages need."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import browsing

BINARY = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)

PREFERENCES: Mapping[str, bool | int | str] = MappingProxyType(
    {
        "media.navigator.streams.fake": True,  # a camera whose picture moves, for whoever asks
        "media.navigator.permission.disabled": True,
        "permissions.default.camera": 1,  # granted, as the page is told
        "services.settings.server": "data:,#remote-settings-dummy/v1",  # it looks for nothing on the internet
        "browser.shell.checkDefaultBrowser": False,
        "browser.startup.homepage_override.mstone": "ignore",
        "datareporting.policy.dataSubmissionEnabled": False,
        "security.sandbox.warn_unprivileged_namespaces": False,
    }
)
NONE: Mapping[str, bool | int | str] = MappingProxyType({})


class Browser(browsing.Browser["Tab"]):
    """One browser process; a context manager.

    Args:
        folder: Of its profile and its log.
        preferences: As ``about:config`` has them, beside those of every test.
    """

    def __init__(self, folder: Path, preferences: Mapping[str, bool | int | str] = NONE) -> None:
        profile = folder / "profile"
        profile.mkdir()
        lines = (f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in {**PREFERENCES, **preferences}.items())
        (profile / "user.js").write_text("".join(lines))
        command = [str(BINARY), "--headless", "--remote-debugging-port", "0", "--profile", str(profile)]
        super().__init__(command, profile)

    def open(self, url: str, *, before: str = "") -> Tab:
        """A page in a context of its own: no cookie or cache of another test.

        Args:
            url: Its address.
            before: A script that runs before any of the page's.
        """
        user = self.call("browser.createUserContext")["userContext"]
        context = self.call("browsingContext.create", type="tab", userContext=user)["context"]
        tab = self._tabs[context] = Tab(self, context, user)
        if before:
            tab.before(before)
        self.call("browsingContext.navigate", context=context, url=url, wait="interactive")
        return tab

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer; what the pages tell meanwhile is kept for them."""
        answer = self._ask({"method": method, "params": params})
        if answer["type"] == "error":
            raise AssertionError(f"{method}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _address(self) -> str:
        try:
            told = json.loads((self._profile / "WebDriverBiDiServer.json").read_text())
        except (OSError, ValueError):
            return ""
        return f"ws://{told['ws_host']}:{told['ws_port']}/session"

    def _greet(self) -> None:
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])

    def _told(self, event: Mapping[str, Any]) -> None:
        context = event.get("params", {}).get("source", {}).get("context")
        if context in self._tabs:
            self._tabs[context].told(event)


class Tab(browsing.Tab):
    """One page."""

    def __init__(self, browser: Browser, context: str, user: str) -> None:
        super().__init__()
        self._browser, self._context, self._user = browser, context, user

    def told(self, event: Mapping[str, Any]) -> None:
        """Takes note of an event."""
        entry = event["params"]
        if entry["level"] in ("error", "warn"):
            self.console.append(str(entry["text"]))

    def before(self, script: str) -> None:
        """Has a script run before any of the page's, from the next one on."""
        self._browser.call(
            "script.addPreloadScript", functionDeclaration=f"() => {{ {script} }}", contexts=[self._context]
        )

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        target = {"context": self._context}
        answer = self._browser.call("script.evaluate", expression=script, target=target, awaitPromise=True)
        if answer["type"] == "exception":
            raise AssertionError(answer["exceptionDetails"]["text"])
        return plain(answer["result"])

    def reload(self) -> None:
        """Loads the page again; what is not yet there is waited for by whoever looks at it."""
        self._browser.call("browsingContext.reload", context=self._context, wait="none")

    def press(self, x: float, y: float) -> None:
        """A click on whatever lies there."""
        actions = [
            {"type": "pointerMove", "x": round(x), "y": round(y)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": "hand", "actions": actions}
        self._browser.call("input.performActions", context=self._context, actions=[pointer])

    def close(self) -> None:
        """Closes the page, and forgets its cookies."""
        self._browser.call("browser.removeUserContext", userContext=self._user)


def plain(told: dict[str, Any]) -> Any:
    """What stands for a value of the page, as JSON would have it."""
    value = told.get("value")
    if told["type"] == "array":
        return [plain(one) for one in value or ()]
    if told["type"] == "object":
        return {name: plain(one) for name, one in value or ()}
    return value
