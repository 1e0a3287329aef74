"""The runner's verbs: ``measure ORDER``, ``check ORDER``, ``fingerprint``."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from edgecvx import __version__
from edgecvx.board import PROTOCOL
from edgecvx.board.device.fingerprint import fingerprint, installed
from edgecvx.board.lease import LATE, TIMING, Lock
from edgecvx.board.runner.check import answer_of, check
from edgecvx.board.runner.coordinator import Measurement
from edgecvx.board.runner.host import Host, HostGone, ignore_signals, raise_on_signals
from edgecvx.board.runner.order import OrderError, read_order, removable

USAGE = "usage: measure ORDER.json | check ORDER.json | fingerprint"


def main(arguments: Sequence[str]) -> int:
    """Does what the first argument says; 0: done, 1: cut short, 2: the order or the command makes no sense."""
    if len(arguments) == 2 and arguments[0] == "measure":
        return measure(Path(arguments[1]))
    if len(arguments) == 2 and arguments[0] == "check":
        return _print_check(Path(arguments[1]))
    if list(arguments) == ["fingerprint"]:
        sys.stdout.write(json.dumps(fingerprint()) + "\n")
        return 0
    sys.stderr.write(USAGE + "\n")
    return 2


def measure(path: Path) -> int:
    """Measures one order; events on standard output, the lifeline on standard input."""
    raise_on_signals()
    folder: Path | None = None
    try:
        folder = removable(path)
        return _measure(path)
    except HostGone as gone:
        ignore_signals()
        sys.stderr.write(f"edgecvx runner: {gone}\n")
        return 1
    finally:
        ignore_signals()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _measure(path: Path) -> int:
    try:
        order = read_order(path)
    except OrderError as error:
        Host(None).send("error", id=None, sentence=str(error))
        return 2
    host = Host(order.lifeline_seconds)
    host.send(
        "hello", protocol=PROTOCOL, runner=__version__, python=platform.python_version(), numpy=installed("numpy")
    )
    host.send("fingerprint", fingerprint=fingerprint())
    lock = _alone(host)
    if lock is None:
        return 2
    measurement = Measurement(order, host)
    try:
        measurement.run()
    finally:
        ignore_signals()
        measurement.stop()
        lock.close()
    host.send("done")
    return 0


def _alone(host: Host) -> Lock | None:
    """Waits until no other runner measures on this machine; None where one does not end, which the host is told."""
    lock = Lock(TIMING)
    until = time.monotonic() + LATE
    while not lock.take(f"a runner (process {os.getpid()})"):
        if time.monotonic() > until:
            host.send("error", id=None, sentence=f"{lock.holder()} measures here and does not end: end it there")
            return None
        host.pause(1.0)
    return lock


def _print_check(path: Path) -> int:
    try:
        answer = check(read_order(path))
    except OrderError as error:
        answer = answer_of([], [str(error)], ok=False)
    sys.stdout.write(json.dumps(answer) + os.linesep)
    return 0 if answer["ok"] else 2
