"""This machine: the same runner as on a board, in a folder of its own that is gone afterwards."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from edgecvx.board import MARK
from edgecvx.errors import DeviceError, UsageError
from edgecvx.latency.devices.base import PATIENCE, check_answer, follow, last_lines, longest_line, longest_silence
from edgecvx.latency.devices.collect import Collector
from edgecvx.latency.devices.job import ORDER_FILE, RUNNER_FILE, Job, place, runner_bytes
from edgecvx.latency.devices.lease import this_machine
from edgecvx.latency.devices.programs import Stopped, complete
from edgecvx.results.untrusted import plain


def open_device(_: str, *, python: str | None = None, adb_benchmark: str | None = None) -> LocalDevice:
    """This machine, by its own Python or another one here; ``adb_benchmark`` is for phones."""
    return LocalDevice(python=python)


class LocalDevice:
    """This machine."""

    name = "local"

    def __init__(self, *, python: str | None = None) -> None:
        self._python = [sys.executable] if python is None else _words(python)
        self._command = python or "this Python"

    def measure(self, job: Job, collector: Collector, *, stop: threading.Event) -> None:
        """Runs the job here. The runner removes the folder too, should this process be killed.

        Raises:
            DeviceError: A runtime is missing, or the runner ended before its time.
        """
        with tempfile.TemporaryDirectory(prefix="edgecvx-bench-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            ordered = job.with_order(remove=True)
            beside = {RUNNER_FILE: runner_bytes(), ORDER_FILE: ordered.order_bytes, MARK: b""}
            for file, content in {**ordered.files, **beside}.items():
                place(content, folder / file)
            try:
                with this_machine(limit=job.wait_seconds, tell=collector.waits_for, stop=stop):
                    self._check(folder, stop)
                    runner = self._start(folder)
                    silence, longest = longest_silence(job), longest_line(job)
                    ended = follow(runner, collector, stop=stop, silence=silence, longest=longest)
            except Stopped:
                return
            except OSError as error:
                raise DeviceError(f"{self._command} cannot be started: {error.strerror}") from error
        if not ended.done and not stop.is_set():
            said = f": {ended.said}" if ended.said else ""
            raise DeviceError(f"the runner on this machine ended before it was done (exit code {ended.code}){said}")

    def _check(self, folder: Path, stop: threading.Event) -> None:
        """Asks the runner what is missing here."""
        reply = complete(self._words(folder, "check"), device=None, stop=stop, limit=PATIENCE)
        if reply.late:
            raise DeviceError(f"{plain(self._command)} did not say within {PATIENCE:.0f} s what is installed")
        if not reply.out:
            said = last_lines(reply.err) or "it said nothing"
            raise DeviceError(f"{plain(self._command)} could not run the runner: {said}")
        check_answer(reply.out, "this machine")

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._words(folder, "measure"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is this process's; the runner is ended in good order
        )

    def _words(self, folder: Path, command: str) -> list[str]:
        return [*self._python, str(folder / RUNNER_FILE), command, str(folder / ORDER_FILE)]


def _words(command: str) -> list[str]:
    """The words of a command, as a shell reads them; a Python behind an emulator has several."""
    try:
        first, *others = shlex.split(command)
    except ValueError:
        raise UsageError(f"--python {command!r} is no command") from None
    try:
        return [str(Path(first).expanduser()), *others]
    except RuntimeError:
        raise UsageError(f"--python {command!r}: there is no such user's home folder here") from None
