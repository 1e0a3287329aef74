"""At most one measurement on a device: on boards behind a real sshd, on this machine, on a phone that is played."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scripted
from loopback_ssh import BEGINNING, SSHD, Board
from support import PATHS
from waiting import PATIENCE, wait_until

from edgecvx.board import PROTOCOL, lease
from edgecvx.board.runner import main as runner
from edgecvx.errors import DeviceError
from edgecvx.latency.devices import ssh
from edgecvx.latency.devices.adb import _LEASE
from edgecvx.latency.devices.collect import At, Collector
from edgecvx.latency.devices.job import Job
from edgecvx.latency.devices.lease import DeviceBusyError, held_by, program, this_machine
from edgecvx.latency.devices.ssh import SshDevice
from edgecvx.latency.devices.ssh_connection import Limits

LIMITS = Limits(connect=PATIENCE, step=PATIENCE, check=PATIENCE, copy_bytes_per_second=1, silence=PATIENCE)
BARE = f"{shlex.quote(sys.executable)} -I -S"

# A runner that writes down when it measures, by the board's own clock, and is at it until its host lets it go.
RUNNER = (
    BEGINNING
    + """
log, gate = (os.path.join(folder, "..", "..", "..", name) for name in ("measured", "gate"))
began = time.time()
def lifeline():
    while os.read(0, 1):
        pass
    with open(log, "a") as stream:
        stream.write(json.dumps([began, time.time()]) + "\\n")
    os._exit(3)
threading.Thread(target=lifeline, daemon=True).start()
say(event="hello", protocol=PROTOCOL, runner="test", python="3", numpy="2")
while os.path.exists(gate):
    time.sleep(0.01)
time.sleep(0.3)
with open(log, "a") as stream:
    stream.write(json.dumps([began, time.time()]) + "\\n")
shutil.rmtree(folder, ignore_errors=True)
say(event="done")
""".replace("PROTOCOL", str(PROTOCOL))
)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    if SSHD is None:
        pytest.skip("no sshd on this machine")
    monkeypatch.setattr(ssh, "runner_bytes", RUNNER.encode)
    board = Board(tmp_path / "board")
    yield board
    board.close()


def order() -> Job:
    return scripted.job("a0", protocol=PROTOCOL, rounds=1, artifacts=[{"id": "a0", "runtime": "x", "path": "a0/m"}])


def collector(asked: Job, told: list[str] | None = None) -> Collector:
    def tell(at: At) -> None:
        if told is not None:
            told.append(at.doing)

    return Collector(asked, [scripted.requested("a0")], device="board", tell=tell)


def measure(board: Board, *, wait: float = PATIENCE, told: list[str] | None = None) -> None:
    asked = Job(order=order().order, files={"a0/m": b"a model"}, wait_seconds=wait)
    device = SshDevice(board.name, board.address, python=BARE, limits=LIMITS, config=board.client)
    device.measure(asked, collector(asked, told), stop=threading.Event())


def spans(board: Board) -> list[tuple[float, float]]:
    """When each measurement began and ended, by its own clock."""
    return sorted(tuple(json.loads(line)) for line in (board.folder / "measured").read_text().splitlines())


def overlaps(found: list[tuple[float, float]]) -> int:
    return sum(second[0] < first[1] for first, second in itertools.pairwise(found))


def side_by_side(board: Board, number: int) -> list[tuple[float, float]]:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            measure(board)
        except BaseException as error:  # noqa: BLE001  # told by the test
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return spans(board)


def test_measurements_of_two_hosts_on_one_board_never_overlap(board: Board) -> None:
    found = side_by_side(board, 2)
    assert len(found) == 2
    assert overlaps(found) == 0


def test_without_a_lease_they_would(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SshDevice, "_leased", lambda *_: contextlib.nullcontext())
    assert overlaps(side_by_side(board, 2)) > 0


def test_who_waits_says_for_whom_and_gives_up_in_a_sentence(board: Board) -> None:
    gate = board.folder / "gate"
    gate.touch()
    first = threading.Thread(target=measure, args=(board,))
    first.start()
    held = board.folder / "leases" / lease.TURN
    wait_until(lambda: held.exists() and "holder" in held.read_text(), "the first has the board")
    told: list[str] = []
    with pytest.raises(DeviceBusyError, match=rf"{os.getpid()}\) since .* measures there.*waited 0\.01 minutes"):
        measure(board, wait=0.6, told=told)
    assert told[0].startswith("waiting for ")
    assert f"(process {os.getpid()}) since" in told[0]
    gate.unlink()
    first.join()
    board.wait_until_tidy()


def test_the_lease_of_a_host_that_is_killed_ends(board: Board, tmp_path: Path) -> None:
    """At once: its ssh loses its standard input with it, and the board hears of that."""
    (board.folder / "gate").touch()
    script = tmp_path / "host.py"
    script.write_text(
        "import threading\nfrom pathlib import Path\n"
        "from edgecvx.latency.devices import ssh\nfrom edgecvx.latency.devices.collect import Collector\n"
        "from edgecvx.latency.devices.job import Job\nfrom edgecvx.latency.devices.ssh import SshDevice\n"
        "from edgecvx.latency.devices.ssh_address import parse_address\nimport scripted\n"
        f"ssh.runner_bytes = lambda: {RUNNER.encode()!r}\n"
        f"job = Job(order={dict(order().order)!r}, files={{'a0/m': b'a model'}})\n"
        f"device = SshDevice({board.name!r}, parse_address({board.name!r}), python={BARE!r}, "
        f"config=Path({str(board.client)!r}))\n"
        "collector = Collector(job, [scripted.requested('a0')], device='board')\n"
        "device.measure(job, collector, stop=threading.Event())\n"
    )
    host = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": PATHS})
    held = board.folder / "leases" / lease.TURN
    wait_until(lambda: f"process {host.pid}" in (held.read_text() if held.exists() else ""), "the host has the board")
    wait_until(lambda: list(board.disk.glob("*/files/*.pyz")), "its files are there")
    host.send_signal(signal.SIGKILL)
    host.wait()
    (board.folder / "gate").unlink()
    measure(board)
    assert overlaps(spans(board)) == 0
    board.wait_until_tidy()


# The program that holds a machine


@pytest.fixture
def leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that nobody else knows."""
    folder = tmp_path / "leases"
    monkeypatch.setenv("EDGECVX_LEASES", str(folder))
    return folder


@contextlib.contextmanager
def running(code: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-I", "-c", code, "somebody", str(folder)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"event": "held", "text": "somebody"}
        yield process
    finally:
        process.kill()
        process.communicate()


def is_free() -> bool:
    lock = lease.Lock(lease.TURN)
    taken = lock.take("me")
    lock.close()
    return taken


def test_a_lease_ends_without_a_sign_of_life(leases: Path, tmp_path: Path) -> None:
    """As where a network is cut, and nobody is told."""
    short = program().replace("TTL = 60.0", "TTL = 0.3")
    assert short != program()
    with running(short, tmp_path) as process:
        process.wait(PATIENCE)
        assert is_free()


def test_a_lease_lasts_as_long_as_there_are_signs_of_life(leases: Path, tmp_path: Path) -> None:
    with running(program().replace("TTL = 60.0", "TTL = 0.6"), tmp_path) as process:
        assert process.stdin is not None
        for _ in range(10):
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert not is_free()
            time.sleep(0.1)


def test_a_lease_ends_with_the_folder_of_its_connection(leases: Path, tmp_path: Path) -> None:
    folder = tmp_path / "of a connection"
    folder.mkdir()
    with running(program(), folder) as process:
        assert not is_free()
        folder.rmdir()
        process.wait(PATIENCE)
        assert is_free()


def test_this_machine_is_leased_too(leases: Path) -> None:
    told: list[str] = []
    stop = threading.Event()
    with (
        this_machine(limit=1, tell=told.append, stop=stop),
        pytest.raises(DeviceBusyError, match="measures there"),
        this_machine(limit=0.3, tell=told.append, stop=stop),
    ):
        pytest.fail("two at once")
    assert f"(process {os.getpid()}) since" in told[0]
    assert is_free()


def test_a_runner_waits_for_one_whose_lease_is_over(leases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not have heard of that yet; and where it never ends, the host is told."""
    paused: list[float] = []
    sent: list[str] = []

    class Host:
        def pause(self, seconds: float) -> None:
            paused.append(seconds)
            if len(paused) == 3:
                before.close()

        def send(self, event: str, **content: str) -> None:
            sent.append(content["sentence"])

    before = lease.Lock(lease.TIMING)
    assert before.take("a runner")
    mine = runner._alone(Host())  # type: ignore[arg-type]
    assert mine is not None and len(paused) == 3
    monkeypatch.setattr(runner, "LATE", -1.0)
    assert runner._alone(Host()) is None  # type: ignore[arg-type]
    assert "does not end" in sent[0]
    mine.close()


def test_a_board_without_a_python_that_could_hold_it_says_so(tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["sh", "-c", "echo Welcome; echo broken >&2; exit 1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with (
        pytest.raises(DeviceError, match=r"board cannot be leased: broken"),
        held_by(process, device="board", limit=PATIENCE, tell=print, stop=threading.Event()),
    ):
        pytest.fail("nobody holds it")


# A phone's shell


def phone(tmp_path: Path) -> subprocess.Popen[bytes]:
    script = _LEASE.replace("/data/local/tmp", str(tmp_path)).replace("HOLDER", "anna@laptop")
    return subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_phone_is_held_by_a_shell_that_ends_with_its_host(tmp_path: Path) -> None:
    how: dict[str, Any] = {"device": "adb://A", "stop": threading.Event()}
    told: list[str] = []
    first = phone(tmp_path)
    with held_by(first, **how, limit=0, tell=told.append):  # who does not want to wait takes what is free
        second = phone(tmp_path)
        assert second.stdout is not None
        assert b"busy" in second.stdout.readline()
        first.stdin.close()  # type: ignore[union-attr]  # as when its host is killed
        with held_by(second, **how, limit=PATIENCE, tell=told.append):
            assert first.wait(PATIENCE) == 0
