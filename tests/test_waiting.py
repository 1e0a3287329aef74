"""Waiting for what comes, for what never comes, and for what hangs."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest
import waiting
from support import ROOT
from waiting import LONGEST, wait_for_end, wait_until


def test_what_comes_is_found() -> None:
    looks = iter([None, 0, "", "found"])
    assert wait_until(lambda: next(looks), "the fourth look") == "found"


def test_what_never_comes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    with pytest.raises(AssertionError, match="waited in vain: a miracle"):
        wait_until(lambda: False, "a miracle")
    with pytest.raises(AssertionError, match="waited in vain: only this came"):
        wait_until(lambda: None, lambda: "only this came")


def test_the_end_of_a_process_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with monkeypatch.context() as patched, pytest.raises(AssertionError, match=rf"the end of .*pid={process.pid}"):
            patched.setattr(waiting, "PATIENCE", 0.0)
            wait_for_end([psutil.Process(process.pid)])
        child = psutil.Process(process.pid)
        process.kill()
        wait_for_end([child])  # nobody has asked for its exit code yet
    wait_for_end([child])


def test_what_hangs_is_ended_and_told() -> None:
    """In a lock, and in a process that does not end; in a Python of its own, whose alarm clock is nobody else's."""
    code = """
import subprocess, sys, threading
import pytest
from waiting import last_resort
with pytest.raises(AssertionError, match="the test hangs"), last_resort(0.05):
    threading.Event().wait()
with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
    with pytest.raises(AssertionError, match="the test hangs"), last_resort(0.05):
        process.wait()
    process.kill()
print("both ended")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "tests/support", capture_output=True, text=True, check=True)
    assert done.stdout == "both ended\n"


def test_every_test_has_a_last_resort() -> None:
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left <= LONGEST


@pytest.mark.parametrize("ignored", ["INT", "HUP", "INT HUP"])
def test_a_child_can_be_stopped_though_the_suite_is_in_the_background(ignored: str) -> None:
    """As ``nohup make test &`` starts it: what ignores a signal hands that on, and a test of Ctrl-C waits for ever."""
    child = "import signal; print([signal.getsignal(n) is signal.SIG_IGN for n in (signal.SIGINT, signal.SIGHUP)])"
    code = (
        "import os, signal, subprocess, sys, waiting\n"
        "waiting.hand_on_signals()\n"
        "for number in (signal.SIGINT, signal.SIGHUP):\n"
        f"    if number.name[3:] in {ignored.split()!r}: os.kill(os.getpid(), number)\n"  # and it goes on
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)\n"
    )
    command = ["sh", "-c", f"trap '' {ignored}; exec \"$@\"", "sh", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "tests/support", capture_output=True, text=True, check=True)
    assert done.stdout == "[False, False]\n"
