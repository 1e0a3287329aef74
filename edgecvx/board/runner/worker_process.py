"""The coordinator's side of a worker: start it, ask it, and say in one sentence how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecvx.board.device.memory import resident
from edgecvx.board.ending import chatter_file, ending, shorten
from edgecvx.board.runner.host import Host

_START = (
    "import sys; sys.path[:] = [{place!r}] + [p for p in sys.path if p]; "
    "from edgecvx.board.runner.worker import main; sys.exit(main({parent}))"
)
_GLANCE, _LONGEST_REST = 0.01, 0.5


class WorkerError(Exception):
    """A worker refused, died or hung; the message is a sentence."""


class Worker:
    """A child process with one runtime and one file in it."""

    def __init__(self, host: Host, name: str, threads: int | None) -> None:
        self._host, self._name = host, name
        self._chatter = chatter_file()
        self._child = subprocess.Popen(
            [sys.executable, "-c", _START.format(place=place(), parent=os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._chatter,
            env=environment(threads),
        )
        self._answer = b""

    def ask(self, doing: str, request: Mapping[str, Any], patience: float) -> dict[str, Any]:
        """Sends a request and waits for its answer.

        Args:
            doing: What the worker is up to, for the sentence about its end.
            request: What to do.
            patience: Seconds after which it counts as hung.

        Raises:
            WorkerError: There is no answer, or the answer is a refusal.
            HostGone: The host is gone.
        """
        shorten(self._chatter)
        stdin, stdout = self._child.stdin, self._child.stdout
        if stdin is None or stdout is None:
            raise WorkerError(f"{self._name} was stopped before")
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._exit_reason(doing)) from None
        until = time.monotonic() + patience
        while b"\n" not in self._answer:
            if not self._host.wait(stdout.fileno(), until):
                self.stop()
                raise WorkerError(f"{self._name} gave no answer for {patience:.0f} s while {doing}; it was stopped")
            block = os.read(stdout.fileno(), 1 << 20)
            if not block:
                raise WorkerError(self._exit_reason(doing))
            self._answer += block
        line, _, self._answer = self._answer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def resident(self) -> int | None:
        """Bytes it holds now."""
        return resident(self._child.pid)

    def rest(self) -> None:
        """Waits until its threads sleep, at most half a second.

        Those of some runtimes wait for the next run by turning in circles: with two threads ONNX Runtime's do for about
        45 ms after a run, OpenVINO's for 4 ms. That would be the neighbour's time.
        """
        before = _processor_ns(self._child.pid)
        for _ in range(round(_LONGEST_REST / _GLANCE)):
            time.sleep(_GLANCE)
            now = _processor_ns(self._child.pid)
            # Where the system does not tell, one short rest has to do.
            if now is None or before is None or now - before < _GLANCE * 1e9 / 10:
                return
            before = now

    def stop(self) -> None:
        """Ends the process at once."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._chatter):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._child.stdin = self._child.stdout = None

    def _exit_reason(self, doing: str) -> str:
        # It closed its answers without a word: whatever it does for longer than it takes to end is of no use.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=1)
        self._child.kill()
        how, last = ending(self._child.wait(), self._chatter)
        self.stop()
        return f"{self._name} {how} while {doing}{last}"


def environment(threads: int | None) -> dict[str, str]:
    """A child's: limits for those libraries that read their number of threads when they are loaded."""
    # numpy's own threads have nothing to do here; those of OpenMP belong to the runtime.
    limits = {"OPENBLAS_NUM_THREADS": "1"}
    if threads is not None:
        limits["OMP_NUM_THREADS"] = str(threads)
    return {**os.environ, **limits}


def _processor_ns(pid: int) -> int | None:
    """How long a process's threads have run until now; None where the system does not tell."""
    try:
        return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) or None
    except (OSError, ValueError, IndexError):  # a thread that ends while it is looked at is one of these
        return None


def place() -> str:
    """Where ``edgecvx`` lies for an import: the runner's zip file, or the folder around the package."""
    return str(Path(__file__).absolute().parents[3])
