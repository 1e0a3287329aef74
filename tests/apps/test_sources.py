"""Sources that are missing, die, hang, come back, or are cut in the middle of a frame."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from live_fakes import patient
from PIL import Image
from waiting import PATIENCE, wait_for_end

from edgecvx.errors import UsageError
from edgecvx_live.capture import Capture
from edgecvx_live.mailbox import Newest
from edgecvx_live.sources import open_source, pipe
from edgecvx_live.sources.base import Source, SourceEndedError, SourceLostError, SourceMissingError
from edgecvx_live.sources.demo import HOLD, DemoSource, frame
from edgecvx_live.sources.folder import FolderSource
from edgecvx_live.sources.picamera2 import open_picamera2
from edgecvx_live.sources.pipe import PipeSource, Program
from edgecvx_live.values import Frame

SIZE = (64, 64)
BYTES = 64 * 64 * 3


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Whatever a test does to its source, no child is there afterwards."""
    before = set(psutil.Process().children(recursive=True))
    yield
    wait_for_end(set(psutil.Process().children(recursive=True)) - before)


@pytest.fixture(autouse=True)
def polite(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends by itself may take its time for it on a busy machine."""
    monkeypatch.setattr(pipe, "_POLITE", PATIENCE)


def camera(
    code: str, *, first: float = PATIENCE, following: float = PATIENCE, ends: bool = False, loop: bool = True
) -> PipeSource:
    """A child that runs this Python code, with ``frame(level)`` and ``say(text)`` to call."""
    head = f"""
        import os, sys, time, signal
        pipe = int(sys.argv[1])
        def send(data):
            while data: data = data[os.write(pipe, data):]
        def frame(level): send(bytes([level]) * {BYTES})
        def say(text): print(text, file=sys.stderr, flush=True)
        def hang(): time.sleep(3600)
    """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    program = Program(
        argv=lambda descriptor: [sys.executable, "-c", text, str(descriptor)],
        advice="see that it is plugged in",
        ends=ends,
        loop=loop,
    )
    return PipeSource("fake", "the camera", program, SIZE, first=first, following=following)


def levels(source: Source, count: int) -> list[int]:
    return [int(source.read().pixels[0, 0, 0]) for _ in range(count)]


def test_frames_come_whole_and_in_order() -> None:
    source = camera("for level in range(5): frame(level)\nhang()")
    source.open()
    assert levels(source, 5) == [0, 1, 2, 3, 4]
    source.close()


def test_a_camera_that_dies_is_lost_and_its_cut_frame_is_thrown_away() -> None:
    source = camera(f"frame(1); send(b'x' * {BYTES // 2}); say('ERROR: unplugged'); sys.exit(1)")
    source.open()
    assert levels(source, 1) == [1]
    with pytest.raises(SourceLostError, match="the camera stopped: unplugged"):
        source.read()
    source.open()
    assert levels(source, 1) == [1], "the half frame is in no later one"
    source.close()


def test_a_camera_that_gives_nothing_is_missing_and_says_why_first() -> None:
    """What a program says first is the cause; what follows are consequences."""
    source = camera("say('ERROR: from element /pipe/v4l2src0: Device busy.'); say('ERROR: no preroll'); sys.exit(1)")
    source.open()
    with pytest.raises(SourceMissingError, match=r"gives no picture: Device busy \(see that it is plugged in\)"):
        source.read()


def test_a_program_that_is_not_installed_says_how_to_get_it() -> None:
    program = Program(argv=lambda _: ["no-such-program"], advice="", install="sudo apt install it")
    with pytest.raises(SourceMissingError, match="sudo apt install it"):
        PipeSource("fake", "camera", program, SIZE).open()


@pytest.mark.parametrize("start", ["", "frame(1)", f"send(b'x' * {BYTES // 2})"])
def test_a_camera_that_hangs_is_given_up(start: str) -> None:
    """Before the first frame, between two, and in the middle of one; its process is ended."""
    source = camera(f"{start}\nhang()", first=PATIENCE if start == "frame(1)" else 0.2, following=0.2)
    source.open()
    with pytest.raises((SourceLostError, SourceMissingError), match=r"given no picture"):
        while True:
            source.read()
    source.close()


def test_a_camera_that_tells_an_error_and_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """gst-launch has been seen to do so; the error is told and not the silence after it."""
    monkeypatch.setattr(pipe, "_POLITE", 0.2)
    source = camera("say('ERROR: no such codec')\nhang()")
    source.open()
    with pytest.raises(SourceMissingError, match="no such codec"):
        source.read()
    source.close()


def test_a_camera_that_ignores_a_polite_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "_POLITE", 0.2)
    source = camera("signal.signal(signal.SIGINT, signal.SIG_IGN)\nframe(1)\nhang()")
    source.open()
    assert levels(source, 1) == [1]
    source.close()


def test_a_camera_that_nothing_ends_is_not_waited_for_and_not_started_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a driver that hangs holds a process in the kernel. Nobody may wait for it, the end of the program least."""
    source = camera("frame(1)\ntime.sleep(3600)")
    source.open()
    source.read()
    child = source._child
    assert child is not None
    with monkeypatch.context() as patched:
        patched.setattr(pipe, "_POLITE", 0.01)
        patched.setattr("os.killpg", lambda *_: None)
        source.close()
    with pytest.raises(SourceMissingError, match=f"held by process {child.pid}, which cannot be ended"):
        source.open()
    child.kill()
    child.wait()
    source.open()
    source.read()
    source.close()


def test_closing_from_another_thread_ends_a_read() -> None:
    source = camera("frame(1)\nhang()")
    source.open()
    assert levels(source, 1) == [1]
    closer = threading.Thread(target=source.close)
    closer.start()
    with pytest.raises(SourceLostError):
        source.read()
    closer.join()
    source.close()


def test_a_talkative_camera_neither_blocks_nor_fills_memory() -> None:
    """Megabytes of warnings, more than any pipe holds."""
    source = camera("for n in range(5): say('warning: ' + 'x' * 999_999); frame(n)\nhang()")
    source.open()
    assert levels(source, 5) == [0, 1, 2, 3, 4]
    assert sum(map(len, source._said)) < 1 << 20
    source.close()


def test_a_video_starts_over_at_its_end() -> None:
    source = camera("frame(1); frame(2)", ends=True)
    source.open()
    assert levels(source, 5) == [1, 2, 1, 2, 1]
    source.close()


def test_a_video_that_is_shown_once_ends() -> None:
    source = camera("frame(1)", ends=True, loop=False)
    source.open()
    assert levels(source, 1) == [1]
    with pytest.raises(SourceEndedError, match="over"):
        source.read()


def test_a_video_that_is_shown_once_and_breaks_off_is_not_started_over() -> None:
    source = camera("frame(1); say('ERROR: damaged'); sys.exit(1)", ends=True, loop=False)
    source.open()
    assert levels(source, 1) == [1]
    with pytest.raises(SourceEndedError, match="stopped: damaged"):
        source.read()


def test_a_camera_that_dies_again_and_again_is_taken_up_again_and_again(tmp_path: Path) -> None:
    """The whole way: a program that dies after each frame, and the thread that opens it for ever."""
    count = tmp_path / "count"
    source = camera(f"""
        from pathlib import Path
        count = Path({str(count)!r})
        number = len(count.read_bytes()) if count.exists() else 0
        count.write_bytes(b'x' * (number + 1))
        if number != 1: frame(number)
        sys.exit(1)
    """)
    frames: Newest[Frame] = Newest()
    capture = Capture(source, frames, pauses=(0.01,))
    capture.start()
    serial, seen = 0, list[tuple[int, int]]()
    while len(seen) < 3:
        got = frames.wait(serial, timeout=PATIENCE)
        assert got is not None, capture.condition
        serial, newest = got
        seen.append((newest.number, int(newest.pixels[0, 0, 0])))
    capture.stop()
    assert [number for number, _ in seen] == sorted({number for number, _ in seen})
    assert all(level == number + (number > 0) for number, level in seen), seen


# Drawn pictures and folders.


def test_a_drawn_frame_is_known_by_its_number() -> None:
    source = DemoSource(seed=3, rate=1000)
    source.open()
    read = [source.read().pixels for _ in range(HOLD + 2)]
    source.close()
    assert all(np.array_equal(pixels, frame(number, seed=3)) for number, pixels in enumerate(read))
    assert not np.array_equal(frame(0, seed=3), frame(5, seed=3)), "it moves"


def test_a_folder_shows_its_pictures_and_skips_the_rest(tmp_path: Path) -> None:
    for level in (50, 200):
        Image.new("RGB", (4000, 30), (level,) * 3).save(tmp_path / f"{level}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "50.png").read_bytes()[:60])
    source = FolderSource(tmp_path, hold=0.002, rate=1000)
    source.open()
    seen = [source.read().pixels for _ in range(5)]
    assert [int(pixels[0, 0, 0]) for pixels in seen] == [200, 200, 50, 50, 200]
    assert seen[0].shape[1] == 1280, "photos are shrunk before they are sent around"
    source.close()


def test_a_folder_that_is_empty_or_missing_is_told(tmp_path: Path) -> None:
    empty = FolderSource(tmp_path)
    empty.open()
    with pytest.raises(SourceMissingError, match="holds no pictures"):
        empty.read()
    with pytest.raises(SourceMissingError, match="no folder"):
        FolderSource(tmp_path / "none").open()


def test_a_folder_that_is_shown_once_ends(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    source = FolderSource(tmp_path, loop=False, hold=0.001, rate=1000)
    source.open()
    source.read()
    with pytest.raises(SourceEndedError):
        source.read()


# The Raspberry Pi's camera, with a picamera2 of our own.

FAKE_PICAMERA2 = """
import numpy as np
class Picamera2:
    cameras = [{"Model": "imx708"}]
    @classmethod
    def global_camera_info(cls): return cls.cameras
    def __init__(self, number): assert number == 0
    def create_video_configuration(self, main, buffer_count, queue, controls):
        assert main["format"] == "BGR888" and not queue
        assert controls["FrameDurationLimits"][0] > 0
        return main
    def configure(self, main): self.size = main["size"]
    def start(self): self.level = 0
    def capture_array(self, name):
        assert name == "main"
        if self.level >= 3: raise RuntimeError("the camera went away")
        self.level += 1
        return np.full((self.size[1], self.size[0], 3), self.level, np.uint8)
    def stop(self): pass
    def close(self): pass
"""


@pytest.fixture
def picamera2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that is called picamera2, where the child finds it."""
    module = tmp_path / "picamera2.py"
    module.write_text(FAKE_PICAMERA2)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("edgecvx_live.sources.picamera2.SYSTEM_PYTHON", Path(sys.executable))
    return module


def test_the_raspberrys_camera_is_read_and_its_end_is_noticed(picamera2: Path) -> None:
    assert picamera2.exists()
    source = patient(open_picamera2("", SIZE))
    source.open()
    assert levels(source, 3) == [1, 2, 3]
    with pytest.raises(SourceLostError, match=r"camera 0 stopped: .*the camera went away"):
        source.read()


def test_a_raspberry_without_a_camera_says_so(picamera2: Path) -> None:
    picamera2.write_text(FAKE_PICAMERA2.replace('[{"Model": "imx708"}]', "[]"))
    source = patient(open_picamera2("", SIZE))
    source.open()
    with pytest.raises(SourceMissingError, match=r"0 cameras are connected.*rpicam-hello"):
        source.read()


def test_a_system_without_picamera2_says_how_to_get_it(picamera2: Path) -> None:
    picamera2.write_text("raise ImportError('no libcamera')")
    source = patient(open_picamera2("", SIZE))
    source.open()
    with pytest.raises(SourceMissingError, match="sudo apt install python3-picamera2"):
        source.read()


# What a user may write.


@pytest.mark.parametrize(
    "text",
    [
        *("webcam", "", "v4l2:/etc/passwd", "v4l2:/dev/video0 ! filesink location=x", "v4l2:/dev/video0/../sda"),
        *("csi:0 ! fakesink", "csi:x", "rtsp://", "rtsp://host/a b", 'rtsp://host/" ! filesink location="x'),
        *("rtsp://host/x!y", "rtsp://host/\n", "rtsp://host/$(id)", "rtsp://host/`id`", "file:", "file:/"),
        *("file", "folder", "folder:"),
        *("picamera2:x", "picamera2:--help", "demo:seed=x", "demo:seed=²", "demo:7", "demo:seed=-1"),
    ],
)
def test_what_is_no_source_is_refused_before_anything_runs(text: str) -> None:
    with pytest.raises(UsageError):
        open_source(text)


@pytest.mark.parametrize("size", [(641, 480), (0, 0), (64, 10**6), (-640, 480)])
def test_frames_of_an_impossible_size_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="do not work"):
        open_source("test", size=size)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://user:s3cret@127.0.0.1:554/stream", "rtsp://127.0.0.1:554/stream"),
        ("rtsp://127.0.0.1/user=admin_password=s3cret_channel=1", "rtsp://127.0.0.1/…"),
        ("rtsp://127.0.0.1:554/live?user=admin&password=s3cret", "rtsp://127.0.0.1:554/live"),
    ],
)
def test_a_password_is_in_no_name_and_no_sentence(address: str, name: str) -> None:
    source = open_source(address)
    assert source.name == name
    assert isinstance(source, PipeSource)
    source._said.append(f"ERROR: cannot open {address}")
    assert "s3cret" not in source._reason()


def test_a_named_pipe_as_a_video_does_not_hold_us_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "video.mp4")
    source = open_source(f"file:{tmp_path / 'video.mp4'}")
    with pytest.raises(SourceMissingError, match="no file"):
        source.open()
