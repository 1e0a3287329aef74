"""What all browsers are asked for by the tests of pages."""

from __future__ import annotations

import json
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from waiting import PATIENCE, WEBSOCKET, wait_until
from websockets.sync.client import connect

AnyTab = TypeVar("AnyTab", bound="Tab", covariant=True)
AnyBrowser = TypeVar("AnyBrowser", bound="Browser[Any]")


class Browser(ABC, Generic[AnyTab]):
    """One browser process, and a line to it; a context manager.

    Args:
        command: Starts it.
        profile: Its folder, which goes with it; its log is put beside.
    """

    def __init__(self, command: Sequence[str], profile: Path) -> None:
        self._profile = profile
        with profile.with_name("browser.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._ending = ExitStack()
        self._ending.callback(self._end)
        self._serial = 0
        self._tabs: dict[str, AnyTab] = {}
        """By what the browser calls them in what it tells of them."""
        try:
            address = wait_until(self._address, "the browser starts")
            self._connection = self._ending.enter_context(connect(address, max_size=None, **WEBSOCKET))
            self._greet()
        except BaseException:
            self._ending.close()
            raise

    @abstractmethod
    def _address(self) -> str:
        """Where it listens; empty, until that is there to be read."""

    def _greet(self) -> None:
        """What it wants to hear before anything else."""

    @abstractmethod
    def _told(self, event: Mapping[str, Any]) -> None:
        """Something that it tells without being asked."""

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Sends a command and waits for its answer; what the browser tells meanwhile is taken note of."""
        self._serial += 1
        self._connection.send(json.dumps({"id": self._serial, **message}))
        while True:
            answer: dict[str, Any] = json.loads(self._connection.recv(PATIENCE))
            if answer.get("id") == self._serial:
                return answer
            self._told(answer)

    def __enter__(self: AnyBrowser) -> AnyBrowser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ending.close()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    @abstractmethod
    def open(self, url: str, *, before: str = "") -> AnyTab:
        """A page in a context of its own, and a script that runs before any of the page's."""


class Tab(ABC):
    """One page."""

    def __init__(self) -> None:
        self.console: list[str] = []
        """What the page, or the browser about the page, complained of."""

    @abstractmethod
    def run(self, script: str) -> Any:
        """The value of an expression in the page."""

    @abstractmethod
    def press(self, x: float, y: float) -> None:
        """A click on whatever lies there."""

    @abstractmethod
    def reload(self) -> None:
        """Loads the page again."""

    @abstractmethod
    def close(self) -> None:
        """Closes the page, and forgets its cookies."""

    def wait(self, script: str) -> Any:
        """Waits for an expression to become true; a page on its way somewhere else counts as false."""

        def look() -> Any:
            try:
                return self.run(script)
            except AssertionError:
                return None

        return wait_until(look, lambda: f"{script}; the page says: {self.look_at()}")

    def look_at(self) -> str:
        """What stands on the page, for the message of a failure."""
        try:
            return str(self.run("document.body ? document.body.innerText.slice(0, 400) : ''"))
        except AssertionError as error:
            return str(error)

    def click(self, selector: str) -> None:
        """Clicks as a hand would: on whatever lies uppermost at the middle of an element.

        And as a hand would once more, where the page has moved meanwhile and the click met something else.
        """
        element = f"document.querySelector({json.dumps(selector)})"
        heed = f"{element}.addEventListener('click', () => (window.met = true), {{capture: true, once: true}})"

        def meets() -> bool:
            self.run(f"window.met = false; {heed}; {element}.scrollIntoView({{block: 'center'}})")
            box = self.run(f"{element}.getBoundingClientRect().toJSON()")
            self.press(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            return bool(self.run("window.met"))

        wait_until(meets, f"a click meets {selector}")
