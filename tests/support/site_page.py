"""The page of a site in a browser: opened, looked at, and given pictures."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from browsing import AnyTab, Browser, Tab
from PIL import Image

REFUSED = "No answers here"
LOADED = "!!document.querySelector('#loaded div')"
ANSWERS = "Number(document.querySelector('.facts').dataset.answers ?? 0)"
WINNER = "document.querySelector('.winner b')?.innerText"
NOBODY_ASKS = "navigator.permissions.query = () => Promise.reject(new TypeError());"
"""The page begins as on a first visit: the camera is not started by itself."""


@contextmanager
def opened(browser: Browser[AnyTab], url: str, **how: Any) -> Iterator[AnyTab]:
    """The page, with a model or the sentence why there is none; afterwards nothing may have been complained of."""
    tab = browser.open(url, **how)
    refused = f"document.querySelector('#state-text').innerText === '{REFUSED}'"
    tab.wait(f"{LOADED} || {refused}")
    yield tab
    assert tab.console == []
    tab.close()


def text(tab: Tab, selector: str) -> str:
    """What stands there."""
    return str(tab.run(f"document.querySelector({json.dumps(selector)})?.innerText"))


def seen(tab: Tab, selector: str) -> bool:
    """Whether it is to be seen."""
    return bool(tab.run(f"document.querySelector({json.dumps(selector)}).checkVisibility()"))


def file_of(image: Image.Image, name: str) -> str:
    """A script that makes a picture file."""
    content = io.BytesIO()
    image.save(content, "PNG")
    coded = base64.b64encode(content.getvalue()).decode()
    return f"new File([Uint8Array.from(atob('{coded}'), (c) => c.charCodeAt(0))], '{name}', {{type: 'image/png'}})"


def give(how: str = "drop", file: str | None = None) -> str:
    """A script that hands a file to the page: chosen, dropped or pasted."""
    ways = {
        "choose": "const input = document.querySelector('#file'); input.files = data.files; "
        "input.dispatchEvent(new Event('change'))",
        "drop": "document.querySelector('.stage').dispatchEvent("
        "new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}))",
        # Firefox puts no files into what a script says was pasted.
        "paste": "const event = new ClipboardEvent('paste', {bubbles: true}); "
        "Object.defineProperty(event, 'clipboardData', {value: data}); document.body.dispatchEvent(event)",
    }
    file = file or file_of(Image.new("RGB", (60, 40), "tomato"), "drawn.png")
    return f"{{ const data = new DataTransfer(); data.items.add({file}); {ways[how]} }}"
