"""A page that is none: it talks to a server of ours over plain HTTP, as the site's page does, and may lie."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import scripted
from waiting import PATIENCE

from edgecvx.web.visits.invitation import Invitation

PHONE: dict[str, Any] = {
    "user_agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile "
    "Safari/537.36",
    "brands": [{"brand": "Not;A=Brand", "version": "8"}, {"brand": "Google Chrome", "version": "156.0.7.8"}],
    "platform": "Android",
    "platform_version": "14.0.0",
    "model": "Pixel 8",
    "architecture": None,
    "cores": 8,
    "memory_gb": 8,
    "isolated": True,
    "timer_ns": 5000,
}


class Host:
    """An invitation, and what became of it: the link, and what the terminal was told."""

    def __init__(self, **how: Any) -> None:
        self._shown = threading.Event()
        self.told: list[str] = []
        self._link = ""
        how = {"lifeline_seconds": PATIENCE, "wait_minutes": PATIENCE / 60, **how}
        self.invitation = Invitation(show_link=self._show, tell=self.told.append, **how)

    @property
    def link(self) -> str:
        """As soon as it is shown."""
        assert self._shown.wait(PATIENCE)
        return self._link

    def page(self, **changes: Any) -> Page:
        """A page that opened the link and has a place."""
        page = Page(self.link)
        page.join(**changes)
        return page

    def _show(self, link: str) -> None:
        self._link = link
        self._shown.set()


class Answer(Exception):  # noqa: N818  # what a server says
    """A refusal: its status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"{status}: {sentence}")
        self.status, self.sentence = status, sentence


class Page:
    """One page; ``token`` and ``cookie`` may be changed."""

    def __init__(self, link: str) -> None:
        address = urlsplit(link)
        self.host, self.port = str(address.hostname), int(address.port or 0)
        self.token = address.fragment.removeprefix("device=")
        self.cookie = ""
        self.visit, self.place = "", ""
        self.number = 0
        self.headers: Mapping[str, str] = {}
        """Of the last answer."""

    def join(self, **changes: Any) -> None:
        """Tells what it is, and takes a place."""
        joined = json.loads(self.ask("POST", "join", json.dumps({**PHONE, **changes}).encode()))
        self.visit, self.place = joined["visit"], joined["place"]
        self.number = 0

    def asked(self) -> dict[str, Any]:
        """What it is to do next."""
        while not (content := self.ask("GET", "asked")):
            pass
        document: dict[str, Any] = json.loads(content)
        return document

    def say(self, body: bytes) -> None:
        """Says something new."""
        self.number += 1
        self.ask("POST", "said", body, n=str(self.number))

    def tell(self, *events: Mapping[str, Any]) -> None:
        """Says events, a line each."""
        self.say(b"\n".join(json.dumps(event).encode() for event in events))

    def alive(self, state: str = "shown") -> None:
        self.ask("POST", "alive", b"", state=state)

    def ask(self, method: str, what: str, body: bytes | None = None, **query: str) -> bytes:
        """Any request; raises what is refused."""
        more = {"visit": self.visit, **query}
        headers = {"Authorization": f"Bearer {self.token}", "Cookie": self.cookie}
        status, content, cookie = self.fetch(method, f"/device/{what}?{urlencode(more)}", body, headers)
        self.cookie = cookie or self.cookie
        if status >= 400:
            raise Answer(status, json.loads(content)["sentence"])
        return content

    def fetch(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = scripted.NOTHING
    ) -> tuple[int, bytes, str]:
        """A request as it is: its status, its content and the cookie that came with it."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            self.headers = dict(answer.getheaders())
            return answer.status, answer.read(), (answer.getheader("Set-Cookie") or "").partition(";")[0]
        finally:
            connection.close()


def events(order: Mapping[str, Any], **how: Any) -> Iterator[dict[str, Any]]:
    """What a page tells of an order, in its own words."""
    for event in scripted.events({**order, "memory": False}, **how):
        kind = event["event"]
        if kind == "fingerprint":
            yield {"event": kind}
        elif kind in ("before", "after"):
            yield {"event": kind, "at": event["conditions"]["at"]}
        elif kind == "opened":
            kept = {key: event[key] for key in ("event", "id", "load_ns", "first_ns", "threads")}
            yield {**kept, "wasm": "wasm32", "kernels": "simd128", "proof_error": 0.001, "outputs": []}
        else:
            yield event


@contextmanager
def running(target: Any, *arguments: Any) -> Iterator[dict[str, Any]]:
    """Runs something beside the test; ``result`` and ``error`` are there when the block is left."""
    found: dict[str, Any] = {}

    def run() -> None:
        try:
            found["result"] = target(*arguments)
        except BaseException as error:  # noqa: BLE001  # looked at by the test
            found["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield found
    thread.join(PATIENCE)
    assert not thread.is_alive()
