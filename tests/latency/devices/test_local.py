"""The runner on this very machine: a real benchmark of a tiny file, and every way it can be cut short."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import scripted
from support import ROOT
from waiting import PATIENCE, wait_for_end, wait_until

from edgecvx.errors import DeviceError, UsageError
from edgecvx.latency.bench import benchmark
from edgecvx.latency.devices import open_device
from edgecvx.latency.devices.base import check_answer, end, follow, longest_line, longest_silence
from edgecvx.latency.devices.collect import Collector
from edgecvx.latency.devices.local import LocalDevice

if TYPE_CHECKING:
    from small_classifier import Exported


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever happens: no folder and no process of ours is left (ONNX Runtime leaves a file of its own there)."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = psutil.Process().children(recursive=True)  # of other tests, which may have a file open
    yield
    assert list(temporary.glob("edgecvx*")) == []
    after = psutil.Process().children(recursive=True)
    assert [words for process in after if process not in before and (words := ours(process))] == []


def ours(process: psutil.Process) -> list[str]:
    """Its words, where it runs and is one of ours."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return words if "edgecvx" in " ".join(words := process.cmdline()) else []
    return []


def runner(code: str, folder: Path) -> subprocess.Popen[bytes]:
    """A runner that says what a test wants it to."""
    script = folder / "runner.py"
    script.write_text(
        "import json, sys, time\ndef say(**e): print(json.dumps(e), flush=True)\n" + textwrap.dedent(code)
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(script)], **pipes)  # type: ignore[call-overload,no-any-return]


def collector() -> Collector:
    return Collector(scripted.job("a0"), [scripted.requested("a0")], device="board")


# A real benchmark.


def test_a_file_is_measured_here(small_classifier: Exported) -> None:
    result = benchmark(small_classifier.path, threads=(1,), runs=70, rounds=7)
    (device,) = result.devices
    (measured,) = device.measured
    assert (device.error, measured.error, measured.end_to_end_note) == (None, None, None)
    assert (device.fingerprint.name, device.fingerprint.python) == ("local", sys.version.split()[0])
    assert [len(t.samples_ns) for t in measured.model] == [10] * 7
    assert measured.model_summary is not None
    assert [p.q for p in measured.model_summary.percentiles] == [0.5, 0.9]
    assert measured.end_to_end_summary is not None
    assert set(measured.end_to_end_summary.parts) == {"decode", "prepare", "infer", "rank"}
    assert measured.memory is not None
    assert measured.identity.runtime_version == importlib.metadata.version("onnxruntime")
    assert measured.backend == "CPUExecutionProvider"
    assert device.noise is not None
    assert device.noise.samples == 14  # before each turn, of the model alone and end to end
    assert result.exit_code == 0


def test_a_file_against_itself_shares_every_round(small_classifier: Exported) -> None:
    result = benchmark([small_classifier.path] * 2, runs=12, rounds=8, end_to_end=False, memory=False)
    (ratio,) = result.devices[0].ratios
    assert (ratio.of, ratio.against, ratio.rounds) == ("a1", "a0", 8)
    assert ratio.interval is not None
    assert ratio.interval.low <= ratio.value <= ratio.interval.high


# What is missing.


def test_a_python_that_is_not_there_is_one_sentence(small_classifier: Exported) -> None:
    with pytest.raises(DeviceError, match="no-such-python cannot be started: No such file or directory"):
        benchmark(small_classifier.path, python="no-such-python")


def test_a_command_that_is_no_python_is_one_sentence(small_classifier: Exported) -> None:
    with pytest.raises(DeviceError, match="false could not run the runner: it said nothing"):
        benchmark(small_classifier.path, python="false")


def test_a_python_without_the_runtime_is_told_what_to_install(small_classifier: Exported, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    with pytest.raises(DeviceError, match=r"this machine cannot measure: numpy.* missing there: .*pip install"):
        benchmark(small_classifier.path, python=str(tmp_path / "bare" / "bin" / "python"))


def test_the_python_of_a_device_may_be_several_words() -> None:
    assert LocalDevice(python="qemu-aarch64 '/opt/a b/python3'")._python == ["qemu-aarch64", "/opt/a b/python3"]
    with pytest.raises(UsageError, match="is no command"):
        open_device("local", python="'unfinished")


def test_what_a_check_says_is_told_in_one_line() -> None:
    notes = check_answer('{"python": "3.11", "ok": true, "missing": [], "notes": ["Pillow is old"]}', "board")
    assert notes == ("Pillow is old",)
    missing = [
        {"what": "numpy", "install": "pip install numpy"},
        {"what": "openvino", "install": "pip install openvino"},
    ]
    with pytest.raises(DeviceError, match="board cannot measure: numpy, openvino is missing there: pip install numpy;"):
        check_answer(json.dumps({"ok": False, "missing": missing, "notes": []}), "board")


def test_what_does_not_run_there_is_not_called_missing() -> None:
    told = {"ok": False, "missing": [], "install": None, "notes": ["coreml: Core ML runs on a Mac only"]}
    with pytest.raises(DeviceError, match=r"^board cannot measure: coreml: Core ML runs on a Mac only$"):
        check_answer(json.dumps(told), "board")


def test_what_is_missing_is_installed_by_one_command() -> None:
    missing = [{"what": what, "install": f"pip install {what}"} for what in ("numpy", "openvino")]
    told = {"ok": False, "missing": missing, "install": "pip install numpy openvino\x1b[2J", "notes": []}
    with pytest.raises(DeviceError, match=r"missing there: pip install numpy openvino \[2J$"):
        check_answer(json.dumps(told), "board")


def test_a_command_that_prints_without_end_is_given_up(small_classifier: Exported) -> None:
    with pytest.raises(DeviceError, match="which is no answer"):
        benchmark(small_classifier.path, python="yes")


def test_a_home_folder_of_nobody_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="there is no such user's home folder"):
        open_device("local", python="~nobody-of-this-name/bin/python")


@pytest.mark.parametrize("line", ["", "bash: python3: command not found", "[]", '{"ok": true}', "{" * 100_000])
def test_a_check_that_makes_no_sense_is_told_as_such(line: str) -> None:
    with pytest.raises(DeviceError, match="which is no answer"):
        check_answer(line, "board")


# Following a runner.


def test_a_runner_is_followed_to_its_end(tmp_path: Path) -> None:
    told = list(scripted.events(scripted.order("a0")))
    (tmp_path / "events.json").write_text(json.dumps(told))
    process = runner(
        f"""
        print("Welcome to this board!", flush=True)
        for event in json.load(open({str(tmp_path / "events.json")!r})):
            say(**event)
        print("a library's chatter", file=sys.stderr)
        """,
        tmp_path,
    )
    gathered = collector()
    ended = follow(process, gathered, stop=threading.Event())
    assert (ended.done, ended.code) == (True, 0)
    assert "Welcome to this board!" in ended.said
    assert "a library's chatter" in ended.said
    assert len(gathered.result().measured[0].model) == 20


def test_a_runner_that_breaks_off_is_told_with_its_last_words(tmp_path: Path) -> None:
    process = runner("print('out of memory', file=sys.stderr); sys.exit(7)", tmp_path)
    ended = follow(process, collector(), stop=threading.Event())
    assert (ended.done, ended.code, ended.said) == (False, 7, "out of memory")


@pytest.mark.parametrize("line", ["{", '{"event": 1}', '{"events": "turn"}'])
def test_a_line_that_is_no_event_ends_the_runner(tmp_path: Path, line: str) -> None:
    process = runner(f"print({line!r}, flush=True); sys.stdin.read()", tmp_path)
    with pytest.raises(DeviceError, match=r"board: its runner printed .* which is no event"):
        follow(process, collector(), stop=threading.Event())
    assert process.poll() is not None


def test_a_runner_hears_from_its_host_while_it_measures(tmp_path: Path) -> None:
    """And ends by itself where it does not: that is the lifeline."""
    process = runner("assert sys.stdin.readline() == '\\n'; say(event='done')", tmp_path)
    assert follow(process, collector(), stop=threading.Event(), heartbeat=0.01).done


def test_a_runner_that_is_done_and_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecvx.latency.devices.base._GOODBYE", 0.2)
    process = runner("say(event='done'); sys.stdin.read()", tmp_path)
    assert follow(process, collector(), stop=threading.Event(), silence=1000).done
    assert process.poll() is not None


def test_a_silent_runner_is_given_up(tmp_path: Path) -> None:
    process = runner("sys.stdin.read()", tmp_path)
    assert not follow(process, collector(), stop=threading.Event(), silence=0.2).done
    assert process.poll() is not None


def test_a_turn_may_take_as_long_as_its_runs() -> None:
    """It tells nothing before its last run: a thousand of them in one round are minutes on a small board."""
    assert longest_silence(scripted.job("a0", runs=200, rounds=20)) == 700
    assert longest_silence(scripted.job("a0", runs=1000, rounds=1)) >= 1000 * 2
    assert longest_silence(scripted.job("a0", runs=None, seconds=5.0)) == 600
    compiled = {"id": "a0", "threads": 1, "runtime": "tensorrt"}  # a small board takes minutes for that, without a word
    assert longest_silence(scripted.job("a0", artifacts=[compiled])) == 2200


def test_a_line_longer_than_its_runs_is_no_event(tmp_path: Path) -> None:
    """A megabyte of brackets takes thirty in memory; a gigabyte would take what this machine has."""
    process = runner("print('{\"event\": \"turn\", \"id\": [' + '[],' * (1 << 20) + '[]]}', flush=True)", tmp_path)
    with pytest.raises(DeviceError, match="which is no event"):
        follow(process, collector(), stop=threading.Event(), longest=longest_line(scripted.job("a0")))
    assert longest_line(scripted.job("a0")) < 2e6
    parts = dict.fromkeys(("decode", "prepare", "infer", "rank"), [20_000_000_000] * 100_000)
    longest = json.dumps({"event": "turn", "samples_ns": [20_000_000_000] * 100_000, "parts_ns": parts})
    for settings in ({"runs": 100_000}, {"runs": None, "seconds": 0.5}):
        assert len(longest) < longest_line(scripted.job("a0", rounds=1, **settings))


def test_a_runner_that_prints_faster_than_it_is_read_has_to_wait(tmp_path: Path) -> None:
    """It would fill the memory of its host. And its last words steer no terminal."""
    process = runner(
        """
        say(event="round", round=1, of=20)
        for _ in range(64): print("x" * (1 << 20), flush=True)
        open(sys.argv[0] + ".through", "w").close()
        for word in ("it", "is", "\\x1b[2Jgone"): print(word, flush=True)
        say(event="done")
        """,
        tmp_path,
    )
    gathered, through = collector(), list[bool]()
    add = gathered.add

    def busy(event: Mapping[str, object]) -> None:
        until = time.monotonic() + 1
        while not through and time.monotonic() < until:
            time.sleep(0.05)
        through.append((tmp_path / "runner.py.through").exists())
        add(event)

    gathered.add = busy  # type: ignore[method-assign]
    ended = follow(process, gathered, stop=threading.Event())
    assert ended.done
    assert through[0] is False
    assert ended.said == "it; is; [2Jgone"


def test_a_runner_that_is_stopped_can_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecvx.latency.devices.base.end", functools.partial(end, patience=PATIENCE))
    process = runner("sys.stdin.read(); open(sys.argv[0] + '.cleaned', 'w').close()", tmp_path)
    stop = threading.Event()
    stop.set()
    assert not follow(process, collector(), stop=stop).done
    assert (tmp_path / "runner.py.cleaned").exists()


def test_a_runner_that_does_not_listen_is_ended_by_force(tmp_path: Path) -> None:
    code = """
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    while True: time.sleep(1)
    """
    process = runner(code, tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    end(process, patience=0.2)
    assert process.returncode == -signal.SIGKILL


# The host itself ends.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_runs_on_when_the_host_is_gone(small_classifier: Exported, tmp_path: Path, number: int) -> None:
    """Ctrl-C, and the end nobody can catch: workers, runner and folder go with it."""
    script = tmp_path / "host.py"
    script.write_text(
        "import sys\nfrom edgecvx.latency.bench import benchmark\n"
        "benchmark(sys.argv[1], seconds=600, rounds=600, end_to_end=False, memory=False,"
        " on_progress=lambda at: print(at.doing, flush=True))\n"
    )
    command = [sys.executable, str(script), str(small_classifier.path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True) as host:
        assert host.stdout is not None
        for line in host.stdout:
            if line.strip() == "rounds":
                break
        family = psutil.Process(host.pid).children(recursive=True)
        assert len(family) == 2  # the runner and its worker
        host.send_signal(number)
        host.stdout.read()
    wait_for_end(family)
    wait_until(lambda: not list((tmp_path / "temporary").glob("edgecvx*")), "the folder is removed")
