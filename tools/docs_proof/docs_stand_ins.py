"""Who stands in for what is not here: a board behind a real sshd, a model hub, and who looks while something runs."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import site_page
from chromium import BINARY, Browser, Tab
from documented import ROOT
from loopback_ssh import SSHD, Board
from PIL import Image
from site_server import serve

from edgecvx.data import demo

_PATIENCE = 300.0
_LINK = re.compile(r"https?://127\.0\.0\.1:\d+/\S*")
_HTTP_SERVER = "http://127.0.0.1:8000/"
"""Where ``python -m http.server`` listens unless it is told otherwise."""

_CLASSES = "|".join(demo.CLASSES)
_CHOOSE = (
    "{ const data = new DataTransfer(); data.items.add(%s); const input = document.querySelector('input'); "
    "input.files = data.files; input.dispatchEvent(new Event('change')) }"
)
"""The script that hands a page a picture."""

Said = Callable[[], str]
Runs = Callable[[], bool]
Visit = Callable[[Path, Said, Runs], bool]
"""Comes while a command runs in a folder; whether Ctrl-C ends it then, where it does not end by itself."""


def missing(need: str) -> str:
    """Why a program or a stand-in cannot be had; empty where it can."""
    if need == "board":
        return "" if SSHD else "no sshd: apt-get install openssh-server"
    if need == "browser":
        return "" if BINARY else "no chromium: apt-get install chromium"
    if need == "hub":
        return ""
    return "" if shutil.which(need) else f"no {need} in the path"


@contextlib.contextmanager
def board(folder: Path) -> Iterator[Mapping[str, str]]:
    """A board that every name leads to; what somebody has to set who wants to reach it.

    It has a home folder of its own and the Python that this runs in. ``ssh`` and ``scp`` are the system's, and find in
    their configuration what a reader's would say of his board.
    """
    home = folder / "board-home"
    home.mkdir()
    paths = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    set_ = {"HOME": str(home), "PYTHONPATH": str(ROOT), "PATH": paths}
    login = f"export {' '.join(f'{name}={shlex.quote(value)}' for name, value in set_.items())}; cd"
    made = Board(folder / "board", login=login)
    try:
        kind, key = (made.folder / "host.pub").read_text().split()[:2]
        (made.folder / "known_hosts").write_text(f"board {kind} {key}\n")
        config = folder / "ssh_config"
        config.write_text(
            f"Host *\n HostName 127.0.0.1\n Port {made.port}\n User {made.address.user}\n HostKeyAlias board\n"
            f" IdentityFile {made.folder / 'user'}\n IdentitiesOnly yes\n IdentityAgent none\n"
            f" UserKnownHostsFile {made.folder / 'known_hosts'}\n GlobalKnownHostsFile /dev/null\n"
        )
        bin_ = folder / "ssh-bin"
        bin_.mkdir()
        for name in ("ssh", "scp"):
            # pi, or whoever the page has, is no user of this machine
            words = f"{shutil.which(name)} -F {config} -o User={made.address.user}"
            (bin_ / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            (bin_ / name).chmod(0o755)
        yield {"PATH": str(bin_)}
    finally:
        made.close()


@contextlib.contextmanager
def hub(_: Path) -> Iterator[Mapping[str, str]]:
    """A model hub on loopback, named and entered as the hub's client is told to."""
    from pretended_hub import TOKEN, pretended_hub

    with pretended_hub() as made:
        yield {"HF_ENDPOINT": made.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        repositories = {name: sorted(held.files) for name, held in made.repositories.items()}
        if not any("README.md" in files for files in repositories.values()):
            raise AssertionError(f"nothing arrived at the hub: {repositories}")


STAND_INS: Mapping[str, Callable[[Path], contextlib.AbstractContextManager[Mapping[str, str]]]] = {
    "board": board,
    "hub": hub,
}


# Visits


def _wait(look: Callable[[], bool], said: Said, runs: Runs, what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not look():
        if not runs():
            raise AssertionError(f"ended before {what}: {said()[-1000:]}")
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}; it said {said()[-1000:]}")
        time.sleep(0.1)


def _link(said: Said, runs: Runs) -> str:
    _wait(lambda: _LINK.search(said()) is not None, said, runs, "a link")
    found = _LINK.search(said())
    assert found is not None
    return found[0]


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def _browser(folder: Path) -> Iterator[Browser]:
    place = folder.with_name(f"{folder.name}.browser")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    with Browser(place) as browser:
        yield browser


def _browsers(number: int) -> Visit:
    def visit(folder: Path, said: Said, runs: Runs) -> bool:
        link = _link(said, runs)
        with _browser(folder) as browser:
            for _ in range(number):
                browser.open(link)
            end = time.monotonic() + _PATIENCE * number
            while runs() and time.monotonic() < end:
                time.sleep(0.2)
        return False

    return visit


def _live_page(folder: Path, said: Said, runs: Runs) -> bool:
    """Somebody opens the link and reads one of the classes there."""
    link = _link(said, runs)
    with _browser(folder) as browser:
        tab = browser.open(link)
        tab.wait(f"/{_CLASSES}/.test(document.body.textContent)")
    return True


def _terminal(_: Path, said: Said, runs: Runs) -> bool:
    """Somebody reads one of the classes on the terminal."""
    _wait(lambda: any(name in said() for name in demo.CLASSES), said, runs, "a class on the terminal")
    return True


def _site(folder: Path, said: Said, runs: Runs) -> bool:
    """Somebody opens the site and has a picture named."""
    _wait(lambda: _answers(_HTTP_SERVER), said, runs, "an answer on port 8000")
    with _browser(folder) as browser:
        tab = browser.open(_HTTP_SERVER, before=site_page.NOBODY_ASKS)
        tab.wait(site_page.LOADED)
        tab.run(site_page.give("choose", _picture()))
        tab.wait(f"/{_CLASSES}/.test({site_page.WINNER} ?? '')")
    return True


def _example(folder: Path, said: Said, runs: Runs) -> bool:
    """Somebody opens the page of one's own and has a picture named."""
    _wait(lambda: _answers(f"{_HTTP_SERVER}mine.html"), said, runs, "the page on port 8000")
    with _browser(folder) as browser:
        _name_a_picture(browser.open(f"{_HTTP_SERVER}mine.html"), "!document.querySelector('input').disabled")
    return True


def _own_page(folder: Path) -> None:
    """Opens ``mine.html`` beside the site, and has a picture named."""
    with serve(folder) as address, _browser(folder) as browser:
        _name_a_picture(browser.open(f"{address}mine.html"), "document.querySelector('input').onchange !== null")


def _name_a_picture(tab: Tab, is_ready: str) -> None:
    tab.wait(f"document.querySelector('input') && {is_ready}")
    tab.run(_CHOOSE % _picture())
    tab.wait(f"/{_CLASSES}/.test(document.querySelector('output').textContent)")


def _picture() -> str:
    pixels, _ = demo.picture(16, size=224)
    return site_page.file_of(Image.fromarray(pixels), "star.png")


VISITS: Mapping[str, Visit] = {
    "browser": _browsers(1),
    "three browsers": _browsers(3),
    "live page": _live_page,
    "terminal": _terminal,
    "site": _site,
    "example": _example,
}
OPENED: Mapping[str, Callable[[Path], None]] = {"own page": _own_page}
"""What looks at a file that a block shows."""
