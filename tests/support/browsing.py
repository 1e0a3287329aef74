"""What all browsers are asked for by the tests of pages."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from waiting import wait_until

AnyTab = TypeVar("AnyTab", bound="Tab", covariant=True)


class Browser(ABC, Generic[AnyTab]):
    """One browser process."""

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
