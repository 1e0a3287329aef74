"""A board behind ``ssh://user@host[:port]``: files are copied there, measured there, and removed.

The system's own ssh and scp do it, with the user's configuration, keys, agent and known_hosts; on top of them stands
that no password is ever asked for and that an unknown host key is refused. On the board it takes a POSIX shell and a
Python with numpy and the runtime.

A connection that breaks does not end a benchmark: the runner ends itself, its folder is removed, and this side connects
again and asks for what is left.
"""

from __future__ import annotations

import hashlib
import shlex
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from edgecvx.board import MARK
from edgecvx.board.engines import COMPILED
from edgecvx.errors import DeviceError, UsageError
from edgecvx.files import file_sha256
from edgecvx.latency.devices.base import check_answer, follow, longest_line, longest_silence
from edgecvx.latency.devices.collect import Collector
from edgecvx.latency.devices.job import ORDER_FILE, RUNNER_FILE, Job, place, runner_bytes
from edgecvx.latency.devices.lease import held_by, holder, program
from edgecvx.latency.devices.programs import Stopped
from edgecvx.latency.devices.ssh_address import Address, parse_address
from edgecvx.latency.devices.ssh_connection import (
    Connection,
    ConnectionFailedError,
    Folder,
    Limits,
    free_bytes,
)

_FRUITLESS = 5
"""Interruptions in a row without a single round in between, after which it is given up."""
_SLACK = 1 << 20
"""Room beside the files: their blocks, the runner's own."""
_BLOCK = 4096
_FILES = "files"
"""The folder within the device's folder that everything is copied into."""
_HASHES = """
import hashlib, sys
for name in sys.argv[1:]:
    digest = hashlib.sha256()
    with open(name, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    print(digest.hexdigest())
"""
"""Run by whatever Python is there, also one too old to measure: the runner says so later."""


def open_device(text: str, *, python: str | None = None, adb_benchmark: str | None = None) -> SshDevice:
    """The board of this address; ``adb_benchmark`` is for phones.

    Raises:
        UsageError: It is no address.
    """
    return SshDevice(text, parse_address(text), python=python)


class SshDevice:
    """A board behind ssh."""

    def __init__(
        self,
        name: str,
        address: Address,
        *,
        python: str | None = None,
        limits: Limits | None = None,
        config: Path | None = None,
    ) -> None:
        """Remembers where the board is.

        Args:
            name: As the user wrote it.
            address: Where it is.
            python: The command of its Python.
            limits: How long everything may take.
            config: Instead of the user's ``~/.ssh/config``.
        """
        self.name = name
        self._address, self._limits, self._config = address, limits or Limits(), config
        self._command = python or "python3"
        self._python = command_words(self._command)
        # What a runtime leaves in the temporary folder (a telemetry session's file, say) is to go with everything else.
        self._start = f'TMPDIR=$d; export TMPDIR; exec {self._python} "$@"'

    def measure(self, job: Job, collector: Collector, *, stop: threading.Event) -> None:
        """Carries out a job on the board; see ``devices.base.Device``."""
        left: Job | None = job
        fruitless = 0
        try:
            connection = self._connect(stop)
            while left is not None:
                began = left.order["first_round"]
                try:
                    with connection:
                        self._carry_out(connection, left, collector, stop)
                    return
                except ConnectionFailedError as lost:
                    left = collector.rest()
                    if left is None:
                        return
                    fruitless = fruitless + 1 if left.order["first_round"] == began else 0
                    if fruitless >= _FRUITLESS:
                        raise self._gave_up(left, f"the connection broke {fruitless} times within one round") from lost
                    connection = self._reconnect(left, connection.folder, stop)
        except Stopped:
            return

    def _connect(self, stop: threading.Event) -> Connection:
        return Connection(self.name, self._address, limits=self._limits, stop=stop, config=self._config)

    def _reconnect(self, left: Job, old: Folder, stop: threading.Event) -> Connection:
        """Another connection, after pauses that grow; what the old one may have left there is gone."""
        deadline = time.monotonic() + self._limits.reconnect
        pause = 0.5
        while True:
            if stop.wait(min(pause, max(0.0, deadline - time.monotonic()))):
                raise Stopped
            try:
                connection = self._connect(stop)
                try:
                    connection.forget(old)  # where the device has not noticed yet that the line is dead
                except BaseException:
                    connection.close()
                    raise
                return connection
            except ConnectionFailedError as error:
                if time.monotonic() >= deadline:
                    raise self._gave_up(left, str(error)) from error
                pause = min(2 * pause, 15.0)

    def _gave_up(self, left: Job, why: str) -> DeviceError:
        done, rounds = left.order["first_round"], left.order["rounds"]
        return DeviceError(
            f"{self.name}: the connection was lost after {done} of {rounds} rounds and did not come back ({why}); "
            "what was measured until then is kept"
        )

    def _carry_out(self, connection: Connection, job: Job, collector: Collector, stop: threading.Event) -> None:
        """The whole way, once: look, copy, check, measure."""
        self._check_python(connection)
        with self._leased(connection, job, collector, stop):
            self._carry_out_alone(connection, job.with_order(remove=True), collector, stop)

    def _leased(
        self, connection: Connection, job: Job, collector: Collector, stop: threading.Event
    ) -> AbstractContextManager[None]:
        """The board, for us alone: copying and checking would disturb whoever measures there as well."""
        process = connection.start(f'exec {self._python} -c "$@"', program(), holder(), connection.folder.path)
        return held_by(process, device=self.name, limit=job.wait_seconds, tell=collector.waits_for, stop=stop)

    def _carry_out_alone(self, connection: Connection, job: Job, collector: Collector, stop: threading.Event) -> None:
        contents = {**job.files, ORDER_FILE: job.order_bytes, RUNNER_FILE: runner_bytes(), MARK: b""}
        compiled = [job.files[a["path"]] for a in job.order["artifacts"] if a["runtime"] in COMPILED]
        self._check_room(connection, (*contents.values(), *compiled), connection.room)  # an engine is about as large
        self._copy(connection, contents)
        words = _words(connection.folder, "check")
        reply = connection.run(f"d=$1; shift; {self._start}", *words, limit=self._limits.check)
        report = [line for line in reply.lines if line.lstrip().startswith("{")]
        if not report:
            raise DeviceError(
                f"{self.name}: {self._command} there cannot run the check (exit code {reply.code}): {reply.said}"
            )
        check_answer(report[-1], self.name)
        self._measure(connection, job, collector, stop)

    def _check_python(self, connection: Connection) -> None:
        found = connection.run(f'{self._python} -c "$1"', "print(0)")
        if found.code != 0:
            raise DeviceError(
                f"{self.name} has no {self._command}"
                + (f" ({found.said})" if found.said else "")
                + ": install Python 3.9 or newer there (on Debian: sudo apt install python3), or name one with --python"
            )

    def _check_room(self, connection: Connection, contents: Iterable[Path | bytes], free: int | None) -> None:
        needed = _SLACK + sum(_size(content) + _BLOCK for content in contents)
        if free is not None and free < needed:
            raise DeviceError(
                f"{self.name} has no room: {needed / 1e6:.1f} MB are needed in {connection.folder.parent} and "
                f"{free / 1e6:.1f} MB are free; make room there, or set TMPDIR there to another disk"
            )

    def _copy(self, connection: Connection, contents: Mapping[str, Path | bytes]) -> None:
        """Copies everything and compares the hashes.

        What ``scp`` sees are links under made-up names. Where it fails (a board without an sftp server, a login script
        that prints), the files go through the shell, one by one.
        """
        limit = 60 + sum(map(_size, contents.values())) / self._limits.copy_bytes_per_second
        expected = {name: _sha256(content) for name, content in contents.items()}
        with tempfile.TemporaryDirectory(prefix="edgecvx-") as temporary:
            source = Path(temporary) / _FILES
            for name, content in contents.items():
                place(content, source / name)
            copied = connection.copy(source, limit=limit)
            if copied.code != 0:
                self._copy_through_shell(connection, source, tuple(contents), limit)
        arrived = self._hashes(connection, tuple(contents))
        broken = [name for name, sha256 in expected.items() if arrived.get(name) != sha256]
        if broken:
            self._check_room(connection, contents.values(), self._free(connection))
            raise DeviceError(f"{self.name}: {len(broken)} files did not arrive whole ({broken[0]}); try again")

    def _copy_through_shell(self, connection: Connection, source: Path, names: tuple[str, ...], limit: float) -> None:
        for name in names:
            path = f"{_FILES}/{name}"
            script = 'cd "$1" && mkdir -p "$2" && cat >"$3"'
            folders = (connection.folder.path, path.rpartition("/")[0])
            with (source / name).open("rb") as content:
                copied = connection.run(script, *folders, path, limit=limit, stdin=content)
            if copied.code != 0:
                free = self._free(connection)
                room = "" if free is None else f"; {free / 1e6:.1f} MB are free in {connection.folder.parent}"
                total = sum((source / other).stat().st_size for other in names)
                raise DeviceError(
                    f"{self.name}: the files could not be written there, {total / 1e6:.1f} MB in all{room}"
                    + (f" ({copied.said})" if copied.said else "")
                )

    def _free(self, connection: Connection) -> int | None:
        return free_bytes(connection.run('df -Pk "$1"', connection.folder.path).lines)

    def _hashes(self, connection: Connection, names: tuple[str, ...]) -> dict[str, str]:
        paths = [f"{connection.folder.path}/{_FILES}/{name}" for name in names]
        with tempfile.TemporaryFile() as script:
            script.write(_HASHES.encode())
            script.seek(0)
            reply = connection.run(f'exec {self._python} - "$@"', *paths, limit=self._limits.check, stdin=script)
        return dict(zip(names, reply.lines, strict=False))

    def _measure(self, connection: Connection, job: Job, collector: Collector, stop: threading.Event) -> None:
        # The shell in between stays, so that the number of a runner that ended never lies there for another process.
        inner = f'd=$0; echo $$ >"$d/pid"; {self._start}'
        script = f'd=$1; shift; sh -c {shlex.quote(inner)} "$d" "$@"; r=$?; rm -f "$d/pid"; exit $r'
        process = connection.start(script, *_words(connection.folder, "measure"))
        ended = follow(process, collector, stop=stop, silence=longest_silence(job), longest=longest_line(job))
        if stop.is_set():
            raise Stopped
        if ended.done:
            return
        if connection.is_lost(ended.code):
            raise ConnectionFailedError(f"{self.name}: the connection was lost")
        how = "went silent" if ended.code is None or ended.code < 0 else f"ended with exit code {ended.code}"
        raise DeviceError(f"{self.name}: its runner {how}" + (f" ({ended.said})" if ended.said else ""))


def command_words(command: str) -> str:
    """A command of the user's as words for a shell: only ``~/`` at its beginning means what it means there.

    Raises:
        UsageError: It is empty, or its quotes do not close.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words or any(ord(c) < 32 for c in command):
        raise UsageError(f"--python {command!r} is no command: write for example ~/venv/bin/python")
    return " ".join(f'"$HOME"/{shlex.quote(w[2:])}' if w.startswith("~/") else shlex.quote(w) for w in words)


def _words(folder: Folder, verb: str) -> tuple[str, ...]:
    """The folder, and how its runner is started there."""
    return folder.path, f"{folder.path}/{_FILES}/{RUNNER_FILE}", verb, f"{folder.path}/{_FILES}/{ORDER_FILE}"


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _sha256(content: Path | bytes) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else file_sha256(content)
