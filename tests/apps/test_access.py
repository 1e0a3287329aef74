"""Who is let in: nobody from beyond without the token, and no page of another site from within."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pretended import Pretended, served
from waiting import PATIENCE, WEBSOCKET
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from edgecvx.errors import UsageError
from edgecvx_live.access import access_for, is_loopback
from edgecvx_live.server import Server, page_files

TOKEN = "a-token_of-24-characters"
ADDRESSES = ["/", "/api/status", "/picture.jpg", "/snapshot", "/snapshot.json", "/nothing", "/live", "/static/"]
ADDRESSES += [f"/static/{name}" for name in page_files()]


@pytest.fixture(scope="module")
def engine() -> Pretended:
    engine = Pretended()
    engine.step()
    return engine


@pytest.fixture(scope="module")
def locked(engine: Pretended) -> Iterator[Server]:
    """A server as it is beyond loopback; here it listens on loopback, and asks for the token all the same."""
    with served(engine, token=TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def unlocked(engine: Pretended) -> Iterator[Server]:
    with served(engine) as server:
        yield server


def client(server: Server, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=headers, timeout=PATIENCE)


def live(server: Server) -> str:
    return f"ws://127.0.0.1:{server.port}/live"


# --- when a token is asked for -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost", "LOCALHOST"])
def test_this_machine_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    assert access_for(host, None).token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "raspberrypi.local", "localhost.example.org"])
def test_beyond_it_a_token_is_made_if_none_is_given(host: str) -> None:
    made = {access_for(host, None).token for _ in range(3)}
    assert len(made) == 3
    assert all(token is not None and len(token) >= 32 for token in made)
    assert access_for(host, TOKEN).token == TOKEN


def test_a_token_that_is_given_is_asked_for_on_this_machine_too() -> None:
    assert access_for("127.0.0.1", TOKEN).token == TOKEN


@pytest.mark.parametrize(
    "token", ["", "short", "has spaces in it", "semicolon;Path=/x", "néw-tökèn-of-umlauts", "x" * 129]
)
def test_a_token_that_is_no_good(token: str) -> None:
    with pytest.raises(UsageError, match="12 to 128"):
        access_for("0.0.0.0", token)


# --- without it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ADDRESSES)
def test_without_the_token_nothing_is_served(locked: Server, address: str) -> None:
    with client(locked) as visitor:
        answer = visitor.get(address)
    assert answer.status_code == 401
    assert answer.text == "Open the link that edgecvx-live printed when it started: it has the token.\n"
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "headers",
    [
        {"cookie": "edgecvx-live-{port}="},
        {"cookie": "edgecvx-live-{port}=" + TOKEN[:-1]},
        {"cookie": "edgecvx-live-{port}=" + TOKEN + "x"},
        {"cookie": "edgecvx-live-1=" + TOKEN},
        {"cookie": TOKEN},
        {"authorization": TOKEN},
        {"authorization": "Basic " + TOKEN},
        {"authorization": "Bearer"},
    ],
)
def test_nearly_the_token_is_not_the_token(locked: Server, headers: dict[str, str]) -> None:
    headers = {name: value.format(port=locked.port) for name, value in headers.items()}
    with client(locked, **headers) as visitor:
        assert visitor.get("/api/status").status_code == 401
    with pytest.raises(InvalidStatus) as refused, connect(live(locked), additional_headers=headers, **WEBSOCKET):
        pass
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize(
    "address", ["/?token=", "/?token=wrong", "/?token=%00", "/?Token=" + TOKEN, "/api/status?token=" + TOKEN]
)
def test_a_link_that_is_not_the_link(locked: Server, address: str) -> None:
    with client(locked) as visitor:
        assert visitor.get(address).status_code == 401


def test_a_link_with_a_thousand_tokens_is_answered(locked: Server) -> None:
    with client(locked) as visitor:
        assert visitor.get("/?" + "&".join(["token=x"] * 1000)).status_code in (400, 401)


# --- with it -----------------------------------------------------------------------------------------------------


def test_the_link_lets_in_and_is_left_at_once(locked: Server) -> None:
    with client(locked) as visitor:
        answer = visitor.get(locked.link)
        assert answer.status_code == 200
        assert TOKEN not in answer.text
        assert answer.headers["refresh"] == "0; url=/"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        cookie = answer.headers["set-cookie"].split("; ")
        assert cookie[0] == f"edgecvx-live-{locked.port}={TOKEN}"
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie)

        page = visitor.get("/")
        assert page.status_code == 200
        assert "<title>edgecvx live</title>" in page.text
        header = {"cookie": cookie[0]}
    with connect(live(locked), additional_headers=header, **WEBSOCKET) as socket:
        assert '"status"' in str(socket.recv(PATIENCE))


def test_a_program_may_bring_it_in_a_header(locked: Server) -> None:
    with client(locked, authorization=f"Bearer {TOKEN}") as visitor:
        assert visitor.get("/api/status").json()["result"]["frame"] == 1


# --- pages of other sites ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
@pytest.mark.parametrize("port", ["", ":8080"])
def test_names_that_mean_this_machine(unlocked: Server, name: str, port: str) -> None:
    """Any port: the page may be reached through a tunnel."""
    with client(unlocked, host=name + port) as visitor:
        assert visitor.get("/api/status").status_code == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "a@127.0.0.2"]
)
def test_other_names_lead_nowhere(unlocked: Server, name: str) -> None:
    """A page of evil.example whose name suddenly means 127.0.0.1 is of the same origin; the name gives it away."""
    with client(unlocked, host=name) as visitor:
        answer = visitor.get("/api/status")
    assert answer.status_code in (400, 421)
    assert "frame" not in answer.text


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "file://", "http://localhost"]
)
def test_a_page_of_another_site_gets_no_connection(unlocked: Server, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(live(unlocked), origin=Origin(origin), **WEBSOCKET):
        pass
    assert refused.value.response.status_code == 403


def test_our_own_page_does(unlocked: Server) -> None:
    with connect(live(unlocked), origin=Origin(f"http://127.0.0.1:{unlocked.port}"), **WEBSOCKET) as socket:
        assert '"status"' in str(socket.recv(PATIENCE))


def test_nothing_takes_a_body(unlocked: Server) -> None:
    with client(unlocked) as visitor:
        assert visitor.request("GET", "/", content=b"x" * 100_000).status_code == 413
        assert visitor.post("/", content=iter([b"x"])).status_code == 413
        assert visitor.post("/").status_code == 405
