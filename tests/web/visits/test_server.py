"""Who is let in, and what is taken from whom: every request a page makes, and those that none of ours makes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from pretended_page import Answer, Host, Page

from edgecvx.errors import UsageError
from edgecvx.web.files import site_files
from edgecvx.web.visits import server
from edgecvx.web.visits.invitation import Invitation, link_to
from edgecvx.web.visits.places import Place


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def places(host: Host) -> Iterator[tuple[Place, ...]]:
    with server.opened(host.invitation, ["browser 1", "browser 2"], "bench") as places:
        yield places


def refused(status: int, sentence: str) -> pytest.RaisesExc[Answer]:
    return pytest.RaisesExc(Answer, match=f"^{status}: .*{sentence}")


def test_the_page_is_public_and_its_headers_give_it_threads(host: Host, places: object) -> None:
    connection = Page(host.link)
    assert connection.fetch("GET", "/device.js")[:2] == (200, site_files()["device.js"])
    assert connection.fetch("GET", "/../../pyproject.toml")[0] == 404
    assert connection.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert "script-src 'self' 'wasm-unsafe-eval'" in connection.headers["Content-Security-Policy"]


@pytest.mark.usefixtures("places")
def test_whoever_has_no_token_is_sent_away_and_the_terminal_is_told_a_few_times(host: Host) -> None:
    for token in ("", "wrong", "ä" * 30, *["more"] * 9):
        stranger = Page(host.link)
        stranger.token = token.encode().decode("latin-1")
        with refused(403, "this link is not valid"):
            stranger.join()
    assert len(host.told) == 5
    assert host.told[0] == "127.0.0.1 came without the token of the link and was sent away"
    assert host.told[-1].endswith("further ones are not told")


@pytest.mark.usefixtures("places")
def test_two_places_are_taken_and_a_third_page_is_told_so(host: Host) -> None:
    assert [host.page().place for _ in range(2)] == ["browser 1", "browser 2"]
    with refused(409, "all 2 places are taken: --device browser:3 has one more"):
        host.page()
    assert host.told == [f"browser {i}: Chrome 156 on Android 14 has opened the page" for i in (1, 2)]


def test_a_browser_that_comes_back_has_its_own_place_and_the_page_before_ends(
    host: Host, places: tuple[Place, ...]
) -> None:
    page = host.page()
    first, key = places[0].visit, page.visit
    page.join()
    assert (page.place, page.visit != key) == ("browser 1", True)
    assert first is not None and first.left.is_set()
    page.visit = key
    with refused(410, "this visit is over"):
        page.alive()


def test_what_is_said_twice_over_an_unsure_network_is_taken_once(host: Host, places: tuple[Place, ...]) -> None:
    page = host.page()
    for body in (b"one", b"two"):
        page.say(body)
        page.ask("POST", "said", body, n=str(page.number))
    visit = places[0].visit
    assert visit is not None
    assert [visit.read(), visit.read(), visit.read()] == [b"one", b"two", None]
    with refused(409, "message 9 does not follow message 2"):
        page.ask("POST", "said", b"nine", n="9")


def test_what_is_asked_reaches_the_page_and_its_files_too(host: Host, places: tuple[Place, ...]) -> None:
    page = host.page()
    visit = places[0].visit
    assert visit is not None
    visit.files = {"a0/model.ecvx": b"weights"}
    visit.ask({"do": "bench"})
    assert page.asked() == {"do": "bench"}
    assert page.ask("GET", "file", name="a0/model.ecvx") == b"weights"
    for name in ("../../etc/passwd", "a0", ""):
        with refused(404, "nothing of this name"):
            page.ask("GET", "file", name=name)
    places[0].close("That was all.")
    assert page.asked() == {"do": "end", "sentence": "That was all."}


def test_more_than_was_expected_is_not_even_read(host: Host, places: tuple[Place, ...]) -> None:
    page = host.page()
    visit = places[0].visit
    assert visit is not None
    visit.longest = 1000
    with refused(413, "it sent 1001 bytes at once, where at most 1000 were expected"):
        page.say(b"x" * 1001)
    assert visit.broken == "it sent 1001 bytes at once, where at most 1000 were expected"


@pytest.mark.parametrize(
    ("what", "body", "status", "sentence"),
    [
        ("join", b"no JSON", 400, "Expecting value"),
        ("join", b"[" * 9000, 400, ""),
        ("join", b'{"user_agent": "x", "timer_ns": NaN}', 400, "expected int|it holds the number"),
        ("join", b"x" * (1 << 15), 413, "at most 16384"),
        ("said", b"", 400, "which message"),
        ("nothing", b"", 404, "nothing of this name"),
        ("_visit", b"", 404, "nothing of this name"),
    ],
)
@pytest.mark.usefixtures("places")
def test_what_no_page_of_ours_asks(host: Host, what: str, body: bytes, status: int, sentence: str) -> None:
    page = host.page()
    with refused(status, sentence):
        page.ask("POST", what, body)


@pytest.mark.usefixtures("places")
def test_a_body_without_a_length_or_half_of_one_ends_that_connection_alone(host: Host) -> None:
    page = host.page()
    head = f"POST /device/said?n=1&visit={page.visit} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {page.token}\r\n"
    for rest in ("Transfer-Encoding: chunked\r\n\r\n", "Content-Length: 50\r\n\r\nhalf"):
        with socket.create_connection((page.host, page.port)) as connection:
            connection.sendall((head + rest).encode())
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100).startswith((b"HTTP/1.1 411", b"HTTP/1.1 400"))
    page.alive()


def test_a_cookie_that_was_not_made_here_is_no_word(host: Host, places: tuple[Place, ...]) -> None:
    page = Page(host.link)
    page.cookie = "edgecvx-browser=short; edgecvx-browser=<script>"
    page.join()
    visit = places[0].visit
    assert visit is not None and len(visit.kept) == 24
    assert page.cookie == f"edgecvx-browser={visit.kept}"


def test_the_page_hears_of_the_end(host: Host) -> None:
    with server.opened(host.invitation, ["browser"], "bench"):
        page = host.page()
    assert host.link.startswith("http://127.0.0.1:")
    with pytest.raises(OSError, match="refused"):
        page.alive()


@pytest.mark.parametrize(("host", "secure"), [("127.0.0.1", True), ("localhost", True), ("192.0.2.7", False)])
def test_a_browser_trusts_this_machine_alone(host: str, secure: bool) -> None:
    assert Invitation(host=host).is_secure is secure


def test_a_link_to_an_address_of_either_kind() -> None:
    assert link_to("192.168.1.5", 80, "t") == "http://192.168.1.5:80/#device=t"
    assert link_to("fe80::1", 80, "t") == "http://[fe80::1]:80/#device=t"


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"host": "kitchen"}, "--host kitchen does not work: it is an address of this machine, such as "),
        ({"host": "0.0.0.0"}, "--host 0.0.0.0 is no address that a phone could open"),
        ({"wait_minutes": 0}, "--wait 0 does not work"),
        ({"wait_minutes": float("nan")}, "--wait nan does not work"),
        ({"lifeline_seconds": 0}, "a lifeline of 0 seconds does not work"),
    ],
)
def test_an_invitation_that_nobody_could_follow(how: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Invitation(**how)  # type: ignore[arg-type]


def test_an_address_of_another_machine_is_refused() -> None:
    invitation = Invitation(host="192.0.2.1")
    with (
        pytest.raises(UsageError, match=r"--host 192\.0\.2\.1 does not work: .*it is an address of this machine"),
        server.opened(invitation, ["browser"], "bench"),
    ):
        pass
