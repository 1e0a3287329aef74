"""A process for a few jobs: what dies in native code, or takes all memory, takes no sweep with it.

It reads its order as one line of JSON, writes an event a line, and its standard input is its lifeline: when whoever
started it is gone, however that ended, it ends too.
"""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from edgecvx.errors import EdgecvxError
from edgecvx.sweep.work import Done, Failed, Outcome, Task, Tell, carry_out

STOPPED = "stopped"
_GRACE = 20.0
"""Seconds in which a process that was told to stop puts things in order."""
_SAID = 4096
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""What Dask gives its workers: the reference's last digits depend on it, and a report may not depend on where it was
computed. Batches are run side by side instead."""
_EVENTS: Mapping[str, type[Done] | type[Failed]] = {"done": Done, "failed": Failed}


class Stopped(Exception):  # noqa: N818  # nothing went wrong
    """Whoever waited for the jobs wants them no more."""


def in_child(
    kind: str, tasks: Sequence[Task], inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
) -> Iterator[Outcome]:
    """Carries out jobs in a process of their own; see ``work.carry_out``.

    Every job has an outcome, also where the process died.

    Raises:
        Stopped: ``stop`` was set; the process is over by then.
    """
    order = {
        "kind": kind,
        "tasks": [dataclasses.asdict(task) for task in tasks],
        "inputs": {key: str(path) for key, path in inputs.items()},
        "folder": str(folder),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(_ONE_THREAD if kind == "validate" else {})},
        start_new_session=True,  # Ctrl-C is for the sweep, which then ends its children in order
    )
    left = {task.key: task for task in tasks}
    said = _Said()
    try:
        for event in _events(process, order, said, stop):
            name = event.pop("event")
            if name == "doing":
                tell(event["text"], event["done"], event["of"])
                continue
            left.pop(event["key"])
            yield _EVENTS[name](**{**event, **({"warnings": tuple(event["warnings"])} if name == "done" else {})})
        process.wait()
    finally:
        _end(process)
    if stop.is_set():
        raise Stopped
    for key in left:
        yield Failed(key=key, sentence=_how_it_ended(process.returncode, said.text), crashed=True)


def _events(
    process: subprocess.Popen[bytes], order: object, said: _Said, stop: threading.Event
) -> Iterator[dict[str, Any]]:
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    if stdin is None or stdout is None or stderr is None:
        raise EdgecvxError("a process was started without pipes")
    with contextlib.suppress(BrokenPipeError):
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()
    lines: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_read, args=(stdout, lines.put), daemon=True).start()
    threading.Thread(target=_read, args=(stderr, said.add), daemon=True).start()
    while not stop.is_set():
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            continue
        if not line:
            return
        yield json.loads(line)


def _read(stream: IO[bytes], take: Any) -> None:
    with contextlib.suppress(OSError, ValueError):
        while line := stream.readline():
            take(line)
    take(b"")


class _Said:
    """The last of what a process wrote on standard error."""

    def __init__(self) -> None:
        self._kept = b""

    def add(self, line: bytes) -> None:
        self._kept = (self._kept + line)[-_SAID:]

    @property
    def text(self) -> str:
        lines = [line.strip() for line in self._kept.decode(errors="replace").splitlines() if line.strip()]
        return " ".join(lines[-1:])[:300]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process by its lifeline, so that it can put things in order, and then by force."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(timeout=_GRACE + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _how_it_ended(code: int, said: str) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-code).name}" + (f" ({said})" if said else "")
    return f"its process ended with exit code {code}" + (f": {said}" if said else "")


# In the process


def main() -> None:
    """Carries out the order on standard input."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    events = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what native code prints must not get between the events
    lock = threading.Lock()

    def send(event: str, **content: Any) -> None:
        with lock:
            events.write(json.dumps({"event": event, **content}).encode() + b"\n")

    order = json.loads(_line())
    threading.Thread(target=_lifeline, daemon=True).start()
    tell = _Rarely(send)
    tasks = [Task(**task) for task in order["tasks"]]
    inputs = {key: Path(path) for key, path in order["inputs"].items()}
    code = 0
    try:
        for outcome in carry_out(order["kind"], tasks, inputs, Path(order["folder"]), tell):
            send("done" if isinstance(outcome, Done) else "failed", **dataclasses.asdict(outcome))
    except (KeyboardInterrupt, BrokenPipeError):
        code = 3
    except OSError as error:
        sys.stderr.write(f"{error.filename or ''} {error.strerror or error}\n")
        code = 2
    sys.stderr.flush()
    os._exit(code)  # native code has been seen to crash while it is torn down


def _line() -> bytes:
    """The first line of standard input, and nothing of what comes behind it."""
    read = b""
    while not read.endswith(b"\n"):
        block = os.read(0, 1 << 16)
        if not block:
            raise SystemExit(3)
        read += block
    return read


def _lifeline() -> None:
    """Ends this process when whoever started it is gone."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    _thread.interrupt_main()
    time.sleep(_GRACE)
    os._exit(3)


class _Rarely:
    """Tells of every step, and within one a few times a second."""

    def __init__(self, send: Any) -> None:
        self._send, self._text, self._at = send, "", 0.0

    def __call__(self, text: str, done: int, of: int) -> None:
        now = time.monotonic()
        if text != self._text or now - self._at > 0.3 or done == of:
            self._text, self._at = text, now
            self._send("doing", text=text, done=done, of=of)


if __name__ == "__main__":
    main()
