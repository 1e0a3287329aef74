"""Where a page is typed: one shell, in which a folder and what was exported stay, and one Python."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

Visit = Callable[[Callable[[], str], Callable[[], bool]], bool]
"""Comes while a command runs, with ways to read what it said and whether it still runs; whether it is then stopped."""

_TYPED = """
if [ -e "$DOCS_PROOF_STATE" ]; then . "$DOCS_PROOF_STATE"; fi
eval "$1"
code=$?
{ export -p; printf 'cd %q\\n' "$PWD"; } >"$DOCS_PROOF_STATE"
exit $code
"""
_PYTHON = """
import json, sys, traceback
names = {"__name__": "__main__"}
sys.modules["__main__"].__dict__.update(names)
out = open(int(sys.argv[1]), "w")
for number, line in enumerate(sys.stdin, 1):
    code = 0
    try:
        exec(compile(json.loads(line), f"piece {number}", "exec"), sys.modules["__main__"].__dict__)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    out.write(f"{code}\\n")
    out.flush()
"""
_STOPPED = frozenset({0, 130, -signal.SIGINT})
"""How a command ends that Ctrl-C stopped: well, or by that signal."""
_AFTER_INTERRUPT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a piece."""

    code: int
    said: str
    seconds: float
    stopped: bool = False

    def is_right(self, codes: tuple[int, ...]) -> bool:
        """Whether it ended as it should: with one of these codes, or well where it was stopped."""
        return self.code in (_STOPPED if self.stopped else codes)


class Session:
    """One page's shell and Python in one folder; a context manager, after which nothing of it runs."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._state = folder.with_name(f"{folder.name}.state")
        self._state.unlink(missing_ok=True)
        self._environment = {**environment, "DOCS_PROOF_STATE": str(self._state)}
        self._log = folder.with_name(f"{folder.name}.log")
        self._log.write_bytes(b"")
        self._groups: list[int] = []
        self._python: subprocess.Popen[bytes] | None = None
        self._replies: int | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._python is not None:
            if self._python.stdin is not None:
                self._python.stdin.close()
            try:
                self._python.wait(20)
            except subprocess.TimeoutExpired:
                self._python.kill()
                self._python.wait()
        for sign in (signal.SIGTERM, signal.SIGKILL):  # what was started with & goes with the page
            for group in self._groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, sign)
            time.sleep(0.5 if self._groups else 0)

    def type(self, command: str, *, limit: float, visit: Visit | None = None) -> Done:
        """Types a command of a shell and waits for its end, or until a visit was there."""
        began, start = time.monotonic(), self._log.stat().st_size
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                ["bash", "-c", _TYPED, "bash", command],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._groups.append(process.pid)
        stopped = False
        try:
            if visit is not None:
                stopped = visit(lambda: self._said(start), lambda: process.poll() is None)
                if stopped and process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)
                    limit = _AFTER_INTERRUPT + time.monotonic() - began
            code = process.wait(max(1.0, limit - (time.monotonic() - began)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = 124
        return Done(code=code, said=self._said(start), seconds=time.monotonic() - began, stopped=stopped)

    def execute(self, code: str, *, limit: float) -> Done:
        """Executes Python behind what was executed before on this page."""
        began, start = time.monotonic(), self._log.stat().st_size
        process = self._python or self._start()
        assert process.stdin is not None and self._replies is not None
        process.stdin.write(json.dumps(code).encode() + b"\n")
        process.stdin.flush()
        timer = threading.Timer(limit, process.kill)
        timer.start()
        reply = b""
        while not reply.endswith(b"\n") and (more := os.read(self._replies, 1)):
            reply += more
        timer.cancel()
        ended = int(reply) if reply else process.wait() or 1
        return Done(code=ended, said=self._said(start), seconds=time.monotonic() - began)

    def _start(self) -> subprocess.Popen[bytes]:
        self._replies, write = os.pipe()
        with self._log.open("ab") as log:
            self._python = subprocess.Popen(
                [sys.executable, "-c", _PYTHON, str(write)],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(write,),
            )
        os.close(write)
        return self._python

    def _said(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")
