"""Boards behind ssh: a real sshd on loopback, real connections, real cuts."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_ssh import BEGINNING, SSHD, Board
from support import PATHS
from waiting import PATIENCE, wait_until

from edgecvx.board import PROTOCOL
from edgecvx.errors import DeviceError, UsageError
from edgecvx.latency.bench import benchmark
from edgecvx.latency.devices import ssh
from edgecvx.latency.devices.base import Ended
from edgecvx.latency.devices.collect import At, Collector
from edgecvx.latency.devices.job import Job, runner_bytes
from edgecvx.latency.devices.ssh import SshDevice, command_words
from edgecvx.latency.devices.ssh_address import Address, parse_address
from edgecvx.latency.devices.ssh_connection import Limits, free_bytes
from edgecvx.results.accuracy import ArtifactIdentity
from edgecvx.results.latency import Measured
from edgecvx.spec import Task, WeightsSource

pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd on this machine")

LIMITS = Limits(
    connect=PATIENCE, step=PATIENCE, check=PATIENCE, copy_bytes_per_second=1, silence=PATIENCE, reconnect=PATIENCE
)

# A runner of a few lines: what is under test here is the way to it. Each round waits for a file where one is named.
RUNNER = (
    BEGINNING
    + """
def lifeline():
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(3)
threading.Thread(target=lifeline, daemon=True).start()
order = json.load(open(sys.argv[2]))
artifacts = order["artifacts"]
for a in artifacts:
    assert os.path.getsize(os.path.join(folder, a["path"])) > 0
say(event="hello", protocol=order["protocol"], runner="test", python="3", numpy="2")
opened = {"load_ns": 1, "first_ns": 2, "runtime_version": "r 1", "backend": None, "arithmetic": None, "threads": 1}
for a in artifacts:
    say(event="opened", id=a["id"], **opened)
for r in range(order["first_round"], order["rounds"]):
    gate = os.path.join(folder, "..", "..", "..", "gate-%d" % r)
    while os.path.exists(gate):
        time.sleep(0.01)
    for a in artifacts:
        turn = {"round": r, "started": 0.5, "samples_ns": [1000 + r], "parts_ns": {}, "yardstick_ns": 5}
        say(event="turn", id=a["id"], kind="model", turn=turn)
    say(event="round", round=r + 1, of=order["rounds"])
say(event="done")
"""
)


@pytest.fixture(autouse=True)
def runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "runner_bytes", RUNNER.encode)


@pytest.fixture
def make_board(tmp_path: Path) -> Iterator[Callable[..., Board]]:
    made: list[Board] = []

    def make(name: str = "board", **how: str) -> Board:
        made.append(Board(tmp_path / name, **how))
        return made[-1]

    yield make
    for board in made:
        board.close()


@pytest.fixture
def board(make_board: Callable[..., Board]) -> Board:
    return make_board()


BARE = f"{shlex.quote(sys.executable)} -I -S"
"""Starts at once; the few lines above need no more."""


def device(board: Board, *, python: str = BARE, limits: Limits = LIMITS) -> SshDevice:
    return SshDevice(board.name, board.address, python=python, limits=limits, config=board.client)


def job(file: Path | bytes = b"a model", rounds: int = 3) -> Job:
    order = {
        "protocol": PROTOCOL,
        "artifacts": [{"id": "a0", "runtime": "tflite", "path": "a0/model.tflite"}],
        "rounds": rounds,
        "runs": None,
        "seconds": 1.0,
        "first_round": 0,
        "sustained_minutes": 0,
        "patience_seconds": 300,
        "skip": {},
    }
    return Job(order=order, files={"a0/model.tflite": file})


def collector(job: Job, board: Board) -> Collector:
    identity = ArtifactIdentity(
        file="model.tflite",
        sha256="0" * 64,
        bytes=7,
        model="m",
        task=Task.CLASSIFY,
        target="tflite",
        format="tflite",
        precision="fp32",
        runtime="tflite",
        runtime_version=None,
    )
    weights = WeightsSource(kind="random", ref="0", layout="timm", sha256="0" * 64)
    request = Measured(
        id="a0",
        identity=identity,
        weights=weights,
        calibration=None,
        fp32_bytes=None,
        int8_share=None,
        kept_float={},
        batch=1,
        threads=1,
        options={},
        backend=None,
        arithmetic=None,
    )
    return Collector(job, [request], device=board.name)


def measure(board: Board, job_: Job | None = None, **how: Any) -> Collector:
    """A whole round, after which the board is as it was."""
    asked = job_ or job()
    gathered = collector(asked, board)
    try:
        device(board, **how).measure(asked, gathered, stop=threading.Event())
    finally:
        board.wait_until_tidy()
    return gathered


def rounds_of(gathered: Collector) -> list[int]:
    return [turn.round for turn in gathered.result().measured[0].model]


def test_the_whole_round(board: Board) -> None:
    gathered = measure(board)
    assert rounds_of(gathered) == [0, 1, 2]
    assert gathered.interruptions == 0
    assert board.connections == 1  # one handshake for all steps


def test_a_turn_there_may_take_as_long_as_its_runs(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand runs of a second each in one round are no board that went silent."""
    allowed: list[float] = []

    def follow(*_: object, silence: float, stop: threading.Event, **__: object) -> Ended:
        allowed.append(silence)
        stop.set()  # the runner there is really running, and is ended in order
        return Ended(done=False, code=None, said="")

    monkeypatch.setattr(ssh, "follow", follow)
    measure(board, job(rounds=1).with_order(runs=1000))
    assert allowed[0] > 1000


def test_a_users_file_name_never_reaches_a_shell(board: Board, tmp_path: Path) -> None:
    name = "-oProxyCommand=x; 'quoted\" $(touch hacked)\nname: ünïcode"
    file = tmp_path / "a folder" / name
    file.parent.mkdir()
    file.write_bytes(b"x" * 100_000)
    assert rounds_of(measure(board, job(file))) == [0, 1, 2]


def test_an_unknown_host_key_is_refused_whatever_the_configuration_says(board: Board) -> None:
    (board.folder / "known_hosts").write_text("")
    board.client.write_text(
        "StrictHostKeyChecking no\nNoHostAuthenticationForLocalhost yes\n" + board.client.read_text()
    )
    with pytest.raises(DeviceError, match=rf"not in known_hosts.*`ssh -p {board.port} .*@127\.0\.0\.1`"):
        measure(board)
    assert (board.folder / "known_hosts").read_text() == ""


def test_a_changed_host_key_is_refused(board: Board) -> None:
    board.new_key("host")
    with pytest.raises(DeviceError, match=rf"another host key.*ssh-keygen -R '\[127\.0\.0\.1\]:{board.port}'"):
        measure(board)


def test_a_user_without_a_key_there_is_told_how_to_put_one(board: Board) -> None:
    board.new_key("user")
    with pytest.raises(DeviceError, match=r"no password is asked for: `ssh-copy-id -p"):
        measure(board)


def test_a_server_that_wants_a_password_is_left_at_once(make_board: Callable[..., Board]) -> None:
    board = make_board(settings="PasswordAuthentication yes\nPubkeyAuthentication no")
    with pytest.raises(DeviceError, match="no password is asked for"):
        measure(board)


def test_a_host_that_says_nothing_is_given_up(board: Board) -> None:
    """A listening socket behind which nobody speaks ssh."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        board.port = mute.getsockname()[1]
        with pytest.raises(DeviceError, match=r"cannot be reached|did not answer"):
            measure(board, limits=Limits(connect=1, step=5))


def test_a_closed_port_is_told(board: Board) -> None:
    board.close()
    with pytest.raises(DeviceError, match=r"cannot be reached.*Connection refused"):
        measure(board)


# Connections that break.


class Measuring:
    """A measurement in a thread, held at the beginning of a round."""

    def __init__(self, board: Board, *, hold: int, limits: Limits = LIMITS) -> None:
        self.gate = board.folder / f"gate-{hold}"
        self.gate.touch()
        asked = job()
        self.gathered, self.stop, self.error = collector(asked, board), threading.Event(), ""
        self.device = device(board, limits=limits)
        self._work = threading.Thread(target=self._measure, args=(asked,), daemon=True)
        self._work.start()
        wait_until(lambda: self.gathered._rounds_over >= hold or not self._work.is_alive(), f"{hold} rounds are over")

    def _measure(self, job: Job) -> None:
        try:
            self.device.measure(job, self.gathered, stop=self.stop)
        except DeviceError as error:
            self.error = str(error)

    def limit(self, **seconds: float) -> None:
        """Sets limits for what comes, which would have been too short for what has been on a busy machine."""
        self.device._limits = dataclasses.replace(LIMITS, **seconds)

    def over(self) -> Collector:
        self._work.join()
        return self.gathered


def test_a_cut_in_the_middle_is_taken_up_again(board: Board) -> None:
    measuring = Measuring(board, hold=1)
    board.cut()
    wait_until(lambda: board.connections > 1, "it connects again")
    measuring.gate.unlink()
    gathered = measuring.over()
    assert measuring.error == ""
    assert rounds_of(gathered) == [0, 1, 2]
    assert gathered.result().interruptions == 1
    board.wait_until_tidy()


def test_a_line_that_falls_silent_is_taken_up_again(board: Board) -> None:
    """The board has not noticed yet, and its runner still runs: it must not run beside the next one."""
    measuring = Measuring(board, hold=1, limits=dataclasses.replace(LIMITS, silence=1))
    (old,) = board.disk.iterdir()
    board.freeze()
    measuring.limit()  # the next line does not fall silent
    wait_until(lambda: not old.exists(), "the folder of before is removed")
    measuring.gate.unlink()
    assert rounds_of(measuring.over()) == [0, 1, 2]
    assert measuring.gathered.interruptions == 1
    board.cut()  # ends the frozen processes, too
    board.wait_until_tidy()


def test_a_cut_for_good_keeps_what_was_measured(board: Board) -> None:
    measuring = Measuring(board, hold=2)
    measuring.limit(reconnect=2)
    board.close()
    gathered = measuring.over()
    assert "after 2 of 3 rounds" in measuring.error
    assert rounds_of(gathered) == [0, 1]
    board.wait_until_tidy()


def test_a_device_that_cuts_again_and_again_is_given_up(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_FRUITLESS", 2)
    measuring = Measuring(board, hold=0)
    begun: set[Path] = set()
    for _ in range(2):
        begun |= wait_until(lambda: set(board.disk.glob("*/pid")) - begun, "a runner begins")  # noqa: B023
        board.cut()
    measuring.over()
    assert "broke 2 times within one round" in measuring.error
    board.wait_until_tidy()


def test_stopping_leaves_nothing_there(board: Board) -> None:
    measuring = Measuring(board, hold=1)
    measuring.stop.set()
    assert rounds_of(measuring.over()) == [0]
    assert measuring.error == ""
    board.wait_until_tidy()


HOST = """
import sys, threading, types
from pathlib import Path
import test_ssh as tests
runner, name, client = sys.argv[1:]
tests.ssh.runner_bytes = Path(runner).read_bytes
board = types.SimpleNamespace(name=name, address=tests.parse_address(name), client=Path(client))
asked = tests.job()
tests.device(board).measure(asked, tests.collector(asked, board), stop=threading.Event())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_host_that_dies_leaves_nothing_there(board: Board, how: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, and also a kill that nobody can catch: the board cleans up by itself."""
    (board.folder / "gate-1").touch()
    (tmp_path / "runner").write_text(RUNNER)
    (tmp_path / "host.py").write_text(HOST)
    paths = os.pathsep.join((PATHS, str(Path(__file__).parent)))
    command = [sys.executable, str(tmp_path / "host.py"), str(tmp_path / "runner"), board.name, str(board.client)]
    host = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.DEVNULL)
    wait_until(lambda: any(board.disk.glob("*/pid")) or host.poll() is not None, "the runner begins")
    assert host.poll() is None
    host.send_signal(how)
    host.wait()
    board.wait_until_tidy()


# Boards that lack something.


def test_no_python_there(board: Board) -> None:
    with pytest.raises(DeviceError, match=r"has no python3\.99.*--python"):
        measure(board, python="python3.99")


def test_what_a_board_says_steers_no_terminal(make_board: Callable[..., Board]) -> None:
    board = make_board(login="printf '\\033[2Jnobody is let in here\\n' >&2; exit 9")
    with pytest.raises(DeviceError, match=r"ran no command \(exit code 9\):  \[2Jnobody is let in here"):
        measure(board)


def test_without_ssh_on_this_machine(board: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="there is no ssh on this machine's PATH; install OpenSSH's client"):
        measure(board)


def test_no_room_there_is_told_before_anything_is_copied(make_board: Callable[..., Board]) -> None:
    answer = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/root disk 100 90 10 90% /a disk"
    board = make_board(login='PATH="${0%/*}/bin:$PATH"')
    (board.folder / "bin").mkdir()
    (board.folder / "bin" / "df").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (board.folder / "bin" / "df").chmod(0o755)
    with pytest.raises(DeviceError, match=r"has no room: .* MB are needed in .*0\.0 MB are free"):
        measure(board)


def test_a_copy_that_is_cut_short_is_told(make_board: Callable[..., Board], tmp_path: Path) -> None:
    """As on a disk that fills up meanwhile: no file there may grow beyond 64 kB."""
    board = make_board(login="ulimit -f 128")
    (tmp_path / "model").write_bytes(bytes(1 << 20))
    with pytest.raises(DeviceError, match=r"could not be written there, 1\.1 MB in all; .* MB are free"):
        measure(board, job(tmp_path / "model"))


def test_two_boards_side_by_side(make_board: Callable[..., Board]) -> None:
    boards = [make_board("one"), make_board("two")]
    both = [Measuring(board, hold=1) for board in boards]
    for measuring in both:
        measuring.gate.unlink()
    assert [rounds_of(m.over()) for m in both] == [[0, 1, 2]] * 2
    for board in boards:
        board.wait_until_tidy()


def test_a_login_script_that_prints_does_not_disturb(make_board: Callable[..., Board]) -> None:
    """It also breaks scp, so the files take the other way."""
    board = make_board(login="echo 'Welcome to {\"event\": \"board\"}'; echo Wörk >&2; printf 'no line break {'")
    assert rounds_of(measure(board)) == [0, 1, 2]


def test_a_board_without_an_sftp_server(make_board: Callable[..., Board]) -> None:
    board = make_board(sftp="/nonexistent")
    assert rounds_of(measure(board)) == [0, 1, 2]


def test_a_board_that_allows_one_session_a_connection(make_board: Callable[..., Board]) -> None:
    board = make_board(settings="MaxSessions 1")
    assert rounds_of(measure(board)) == [0, 1, 2]


# What is read before anything is connected.


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ssh://pi@kitchen", Address(host="kitchen", user="pi")),
        ("ssh://kitchen", Address(host="kitchen")),
        ("ssh://pi@10.0.0.7:2222/", Address(host="10.0.0.7", user="pi", port=2222)),
        ("ssh://pi@[fe80::1%eth0]:22", Address(host="fe80::1%eth0", user="pi", port=22)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("ssh://-oProxyCommand=x", "ssh://-l@host", "ssh://a b", "ssh://host;reboot", "ssh://$(x)@host", "ssh://"),
        *(
            "ssh://host:0",
            "ssh://host:65536",
            "ssh://host:²",
            "ssh://host:",
            "ssh://fe80::1",
            "ssh://[::g]",
            "ssh://[::1",
        ),
        *("ssh://pi:secret@host", "ssh://@host", "ssh://host/path", "ssh://ho\nst", "ssh://[::1%-o x]", "kitchen"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="ssh"):
        parse_address(text)


def test_an_ipv6_address_stands_in_brackets_for_scp() -> None:
    assert parse_address("ssh://pi@[::1]:2222").scp_target("/x") == "pi@[::1]:/x"


def test_a_command_is_words_and_no_code() -> None:
    assert command_words("~/my venv/python") == '"$HOME"/my venv/python'
    assert command_words("'/opt/my tools/python' -X utf8") == "'/opt/my tools/python' -X utf8"
    assert command_words("python3; reboot") == "'python3;' reboot"
    for bad in ("", "'open", "a\nb"):
        with pytest.raises(UsageError, match="--python"):
            command_words(bad)


def test_free_room_is_read_from_the_right() -> None:
    header = "Filesystem     1024-blocks      Used Available Capacity Mounted on"
    assert free_bytes([header, "/dev/mmcblk0p2  30358172  8000000 21000000      28% /"]) == 21_000_000 * 1024
    assert free_bytes([header, "a disk 1 2 3 4 5% /media/my disk 9"]) == 4 * 1024
    assert free_bytes([header]) is None
    assert free_bytes([]) is None


# With the real runner.


@pytest.fixture
def real_runner(runner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "runner_bytes", runner_bytes)


def test_a_real_benchmark_is_cut_and_taken_up_again(board: Board, small_classifier: Any, real_runner: None) -> None:
    """Every round is there once, and the board has nothing left of it."""
    cuts: list[At] = []

    def tell(at: At) -> None:
        if at.round == 2 and not cuts:
            cuts.append(at)
            board.cut()

    result = benchmark(
        small_classifier.path,
        devices=[device(board)],
        threads=[1],
        runs=8,
        rounds=8,
        end_to_end=False,
        memory=False,
        on_progress=tell,
    )
    (bench,) = result.devices
    (measured,) = bench.measured
    assert bench.error is None
    assert bench.interruptions == len(cuts) == 1
    assert [turn.round for turn in measured.model] == list(range(8))
    assert bench.fingerprint.name == board.name
    board.wait_until_tidy()


def test_what_is_missing_there_is_told_with_the_command_that_installs_it(
    board: Board, small_classifier: Any, real_runner: None, tmp_path: Path
) -> None:
    """A Python that has nothing but its standard library."""
    venv.create(tmp_path / "bare")
    python = str(tmp_path / "bare" / "bin" / "python")
    with pytest.raises(DeviceError, match=rf"numpy, onnxruntime is missing there: {python} -m pip install"):
        benchmark(small_classifier.path, devices=[device(board, python=python)])
    board.wait_until_tidy()


def test_ctrl_c_waits_until_every_device_is_tidy(small_classifier: Any) -> None:
    """An interrupted ``Thread.join`` takes the thread for ended, and the process would be gone before the board is."""

    def host_waits() -> bool:
        stack = traceback.extract_stack(sys._current_frames()[threading.main_thread().ident or 0])
        return [frame.name for frame in stack[-4:]] == ["_measure", "wait", "wait", "wait"]  # of futures, event, lock

    class Slow:
        name = "slow"
        tidy = False

        def measure(self, job: Job, collector: Collector, *, stop: threading.Event) -> None:
            wait_until(host_waits, "the host waits for its devices")
            signal.raise_signal(signal.SIGINT)
            assert stop.wait(PATIENCE)
            time.sleep(1)  # takes its time to tidy up
            self.tidy = True

    slow = Slow()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs tests in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            benchmark(small_classifier.path, devices=[slow])
    finally:
        signal.signal(signal.SIGINT, before)
    assert slow.tidy
