"""The command as users run it, on a real file: headless, as JSON, with a page, stopped in every way."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import psutil
import pytest
import support
from live_fakes import LABELS, write_artifact
from PIL import Image
from waiting import LONGEST, PATIENCE, wait_for_end

from edgecvx.data.demo import picture as drawn
from edgecvx.manifest import manifest_path, read_manifest
from edgecvx.spec import InputKind, PreprocessSpec, Task
from edgecvx_live.headless import plain
from edgecvx_live.main import run
from edgecvx_live.sources.demo import frame

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "edgecvx_live"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "apps")))}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network in ONNX, seeded and not trained: a real file in a real runtime."""
    pytest.importorskip("onnxruntime")
    from edgecvx.export.onnx.lower import OnnxOptions, lower
    from edgecvx.graph.canonical import build_canonical
    from edgecvx.graph.fold import fold

    network = fold(support.network(len(LABELS)), task=Task.CLASSIFY).module
    lowered = lower(build_canonical(network, task=Task.CLASSIFY, image_size=64), OnnxOptions())
    described = read_manifest(write_artifact(tmp_path_factory.mktemp("described"))).model
    return write_artifact(
        tmp_path_factory.mktemp("artifact"),
        "small.onnx",
        lowered.files[".onnx"],
        model=replace(described, preprocess=PreprocessSpec(size=64)),
        runtime="onnxruntime",
        target="onnx",
        format="onnx",
        input_kind=InputKind.FLOAT,
        input=lowered.inputs[0],
        outputs=lowered.outputs,
    )


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    for process in psutil.process_iter(["cmdline", "ppid"]):
        told = process.info
        if any("edgecvx_live" in word for word in told["cmdline"] or ()) and told["ppid"] == os.getpid():
            pytest.fail(f"left running: {told['cmdline']}")


def live(*arguments: str | Path, streams: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end, its streams as a shell would set them: ``>&-``, ``2>/dev/full``."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *COMMAND, *map(str, arguments)],
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@contextlib.contextmanager
def start(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Runs the command beside the test, and ends it where the test did not.

    Little is on its way from one to the other: who wants to see what comes next has not much to read before.
    """
    words = [*COMMAND, *map(str, arguments)]
    with subprocess.Popen(words, env=ENVIRONMENT, stdout=-1, stderr=-1, text=True, pipesize=4096) as process:
        try:
            yield process
        finally:
            process.kill()


def line_with(stream: IO[str] | None, what: str) -> str:
    """The next line with these words."""
    assert stream is not None
    for line in stream:
        if what in line:
            return line
    pytest.fail(f"it ended without saying {what!r}")


def read_on(process: subprocess.Popen[str]) -> None:
    """Reads more results than can have been on their way: the last of them were seen after this was called."""
    line = line_with(process.stdout, '"frame"')
    for _ in range((4096 + 2 * io.DEFAULT_BUFFER_SIZE) // len(line) + 4):  # in the pipe, read ahead, and being written
        line_with(process.stdout, '"frame"')


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and standard error. What it writes meanwhile is read, for a full pipe would hold up its end."""
    _, said = process.communicate()
    return process.returncode, said


def test_each_line_is_a_result_and_is_what_the_file_says(artifact: Path) -> None:
    import edgecvx

    done = live(artifact, "--json-lines", "--frames", "3", "--smoothing", "0", "--source", "demo:seed=5")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == 3
    with edgecvx.load(artifact) as opened:
        for result in results:
            ((best, *_),) = opened.predict([frame(result["frame"], seed=5)])
            told = result["readings"][0]["top"][0]
            assert (told["label"], told["index"]) == (best.label, best.index)
            assert told["probability"] == pytest.approx(best.probability, abs=1e-6), "the same file, twice"
    assert "drawn pictures: running" in done.stderr
    assert "first result" in done.stderr


def test_a_folder_shown_once_ends_the_run_and_says_each_answer(artifact: Path, tmp_path: Path) -> None:
    for number in range(2):
        Image.fromarray(drawn(number * 5, trouble=0)[0]).save(tmp_path / f"{number}.png")
    done = live(artifact, "--headless", "--once", "--source", f"folder:{tmp_path}", "--smoothing", "0")
    assert done.returncode == 0, done.stderr
    assert any(label in done.stdout for label in LABELS)
    assert "all pictures" in done.stderr


@pytest.mark.parametrize("page", ["--headless", "--port=0"])
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("folder:nope", "there is no folder nope: make it and put pictures in"),
        ("folder:empty", "empty holds no pictures: put some in"),
        ("file:nope.mp4", "there is no nope.mp4: name the video with its folder"),
    ],
)
def test_what_is_to_be_shown_once_and_is_not_there_is_not_waited_for(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, says: str, page: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    done = live(artifact, page, "--once", "--source", source)
    assert (done.returncode, done.stderr) == (2, f"edgecvx-live: {says}\n")


def test_a_missing_camera_is_told_and_no_result_is_no_success(artifact: Path) -> None:
    camera = ("--headless", "--source", "v4l2:/dev/video99")
    assert live(artifact, *camera, "--seconds", "1").returncode == 1
    with start(artifact, *camera) as process:
        line_with(process.stderr, "missing: there is no /dev/video99: plug the camera in")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 1


def test_the_page_is_served_and_ends_with_a_polite_kill(artifact: Path) -> None:
    with start(artifact, "--port", "0") as process:
        link = line_with(process.stderr, "open http").split()[1]
        line_with(process.stderr, "first result")
        with urllib.request.urlopen(link + "api/status", timeout=PATIENCE) as answer:
            status = json.load(answer)
        assert status["status"]["source"]["state"] == "running"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", link)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children, "the runtime lives in a process of its own"
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0
        wait_for_end(children)


def ends_in_order(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Sends a signal: exit code 0, and no process of its own is left."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    assert ended(process)[0] == 0
    wait_for_end(children)


def test_a_headless_run_ends_in_order(artifact: Path) -> None:
    with start(artifact, "--json-lines") as process:
        line_with(process.stdout, '"frame"')
        ends_in_order(process, signal.SIGINT)


@pytest.mark.parametrize("arguments", [("--headless",), ("--port", "0")])
def test_a_terminal_that_goes_away_ends_it_in_order(artifact: Path, arguments: tuple[str, ...]) -> None:
    with start(artifact, *arguments) as process:
        line_with(process.stderr, "first result")
        ends_in_order(process, signal.SIGHUP)


def test_what_is_to_outlive_its_terminal_does(artifact: Path) -> None:
    """As nohup starts it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what we ignore, our child ignores
    try:
        with start(artifact, "--json-lines") as process:
            line_with(process.stdout, '"frame"')
            process.send_signal(signal.SIGHUP)
            read_on(process)
            process.send_signal(signal.SIGTERM)
            assert ended(process)[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_reader_that_goes_away_ends_the_run_quietly(artifact: Path) -> None:
    with start(artifact, "--json-lines") as process:
        line_with(process.stdout, '"frame"')
        assert process.stdout and process.stderr
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait() == 0
        assert "Traceback" not in said


@pytest.mark.parametrize("streams", [">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", [("--headless", "--frames", "2"), ("--port", "0", "--seconds", "3")])
def test_a_stream_that_is_closed_is_one_that_nobody_reads(
    artifact: Path, streams: str, arguments: tuple[str, ...]
) -> None:
    done = live(artifact, *arguments, streams=streams)
    slow = 1 if "--seconds" in arguments else 0  # a busy machine, on which no result came in three seconds
    assert done.returncode in (0, slow), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("how", ["--json-lines", "--headless"])
def test_results_that_cannot_be_written_are_one_line(artifact: Path, how: str) -> None:
    done = live(artifact, how, streams=">/dev/full")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "edgecvx-live: the results cannot be written: No space left on device"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_what_is_told_and_cannot_be_written_ends_nothing(artifact: Path) -> None:
    done = live(artifact, "--port", "0", "--seconds", "3", streams="2>/dev/full")
    assert done.returncode in (0, 1)  # 1: a busy machine, on which no result came in three seconds
    done = live(artifact, "--json-lines", "--frames", "3", streams="2>/dev/full")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    assert live("none.tflite", streams="2>/dev/full").returncode == 2


def test_ctrl_c_while_the_program_loads_is_one_line() -> None:
    code = (
        "import sys\nclass Impatient:\n  def find_spec(self, name, *_):\n"
        "    if name == 'edgecvx_live.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\nfrom edgecvx_live.__main__ import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "edgecvx-live: stopped\n")


def test_a_runtime_that_is_killed_is_opened_again(artifact: Path) -> None:
    """As if native code had crashed: the next results come from a new process, and nobody is told."""
    with start(artifact, "--json-lines") as process:
        line_with(process.stdout, '"frame"')
        (worker,) = psutil.Process(process.pid).children(recursive=True)
        worker.kill()
        wait_for_end([worker])
        read_on(process)
        (second,) = psutil.Process(process.pid).children(recursive=True)
        assert second.pid != worker.pid
        process.send_signal(signal.SIGINT)
        assert "model:" not in ended(process)[1]


def test_a_runtime_that_hangs_does_not_hold_up_the_end(artifact: Path) -> None:
    """Native code that never comes back: here, a process that is stopped."""
    with start(artifact, "--json-lines") as process:
        line_with(process.stdout, '"frame"')
        (worker,) = psutil.Process(process.pid).children(recursive=True)
        worker.suspend()
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0
        wait_for_end([worker])


def test_a_mistake_in_a_thread_ends_the_program() -> None:
    """Half alive is worse than dead: a service that ended is started again."""
    code = (
        "import threading, sys, time\nfrom edgecvx_live import main\n"
        "main.run = lambda _: (threading.Thread(target=lambda: 1 / 0).start(), time.sleep(3600))\nmain.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "ZeroDivisionError" in done.stderr


def test_a_mistake_is_not_taken_for_a_run_without_results() -> None:
    code = "from edgecvx_live import main\nmain.run = lambda _: 1 / 0\nmain.main()"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "ZeroDivisionError" in done.stderr


def test_a_terminal_without_the_letters_does_not_end_the_run(artifact: Path) -> None:
    """A bar, or a label in another script, where the locale has neither."""
    done = live(artifact, "--headless", "--frames", "1", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "?" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "at least one file"),
        (["none.tflite"], "no file none.tflite"),
        (["--source", "webcam"], "unknown source"),
        (["--config", "none.toml"], "none.toml cannot be read"),
        (["--threads", "0"], "0 threads"),
        (["--threads", "two"], "argument --threads: 'two' is not a whole number; see edgecvx-live --help"),
        (["--port", "http"], "argument --port: 'http' is not a whole number"),
        (["--smoothing", "much"], "argument --smoothing: 'much' is not a number"),
        (["--size", "640"], "argument --size: '640' is not WIDTHxHEIGHT"),
        (["--frames", "0"], "argument --frames: '0' is not a number from 1"),
        (["--seconds", "nan"], "argument --seconds: 'nan' is not a number of seconds"),
        (["--seconds", "-1"], "--seconds"),
        (["--frames", "5", "{file}"], "--frames counts results on the terminal: say --headless or --json-lines"),
        (["--side-by-side", "{file}"], "--side-by-side takes two files, and there is one: model-int8.tflite"),
        (["--webcam"], "unrecognized arguments: --webcam; see edgecvx-live --help"),
        (["--config"], "argument --config: expected one argument"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(write_artifact(tmp_path, "model-int8.tflite"))
    assert run([word.replace("{file}", file) for word in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edgecvx-live: ") and says in line


def test_a_file_that_was_changed_is_told_and_not_run(tmp_path: Path) -> None:
    path = write_artifact(tmp_path)
    path.write_bytes(b"something else")
    assert manifest_path(path).exists()
    for where in ("--headless", "--port=0"):
        with start(path, where, "--seconds", str(LONGEST)) as process:
            line_with(process.stderr, "it is not the file that was checked at export")
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 1


def test_a_label_cannot_speak_to_the_terminal() -> None:
    assert plain("cat\x1b[2J\r\n‮") == "cat�[2J���"
