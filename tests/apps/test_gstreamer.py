"""The real GStreamer: test pictures, videos, what is missing, and names that look like commands."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from live_fakes import patient
from waiting import wait_for_end

from edgecvx_live.sources import open_source
from edgecvx_live.sources.base import Source, SourceEndedError, SourceMissingError
from edgecvx_live.sources.gstreamer import PROGRAM, TEST, csi, rtsp, v4l2, words

pytestmark = pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM} is not installed")

SIZE = (160, 120)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))  # some belong to the tests as a whole
    yield
    wait_for_end(set(psutil.Process().children(recursive=True)) - before)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of wide video: left half red, right half blue. A container whose index lies at its end."""
    path = tmp_path_factory.mktemp("video") / "wide.mp4"
    picture = "videotestsrc num-buffers=15 pattern=solid-color foreground-color=0xff{} ! {}"
    size = "video/x-raw,width=160,height=180,framerate=30/1"
    text = (
        f"compositor name=c sink_1::xpos=160 ! video/x-raw,width=320,height=180 ! jpegenc ! qtmux ! filesink "
        f"location={path} {picture.format('ff0000', size)} ! c.sink_0 {picture.format('0000ff', size)} ! c.sink_1"
    )
    made = subprocess.run([PROGRAM, "--quiet", *text.split()], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"this GStreamer makes no video: {made.stderr[:200]}")
    return path


def opened(text: str, *, loop: bool = True) -> Source:
    return patient(open_source(text, size=SIZE, loop=loop))


def read(source: Source, count: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    source.open()
    try:
        return [source.read().pixels for _ in range(count)]
    finally:
        source.close()


def test_the_test_picture_moves() -> None:
    frames = read(opened("test"), 3)
    assert {frame.shape for frame in frames} == {(120, 160, 3)}
    assert not np.array_equal(frames[0], frames[2])


def test_a_video_is_cut_to_our_shape_and_its_colours_are_right(video: Path) -> None:
    """16:9 into 4:3: the middle is kept, nothing is squeezed, nothing is black; red is red and not blue."""
    (frame,) = read(opened(f"file:{video}"), 1)
    left, right = frame[60, 20].astype(int), frame[60, 140].astype(int)
    assert left[0] > 200 > 80 > left[2]
    assert right[2] > 200 > 80 > right[0]
    assert frame[0, 0, 0] > 200, "no border above"
    edge = int(np.argmax(frame[60, :, 2] > frame[60, :, 0]))
    assert abs(edge - 80) <= 2, "the middle stays in the middle"


def test_a_video_goes_round_and_ends_where_it_is_shown_once(video: Path) -> None:
    assert len(read(opened(f"file:{video}"), 20)) == 20, "it has fifteen"
    once = opened(f"file:{video}", loop=False)
    once.open()
    with pytest.raises(SourceEndedError):
        while True:
            once.read()
    once.close()


@pytest.mark.parametrize(
    "name", ["a ! fakesink.mp4", 'q".mp4', "$(touch hit).mp4", "-v.mp4", "line\nbreak.mp4", "`id`;.mp4", "ü ' \\.mp4"]
)
def test_a_hostile_file_name_is_a_file_name(
    video: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(video, tmp_path / name)
    assert len(read(opened(f"file:{name}"), 1)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    for content in (b"", b"hello " * 1000, bytes(range(256)) * 100):
        path = tmp_path / "notes.mp4"
        path.write_bytes(content)
        with pytest.raises(SourceMissingError, match=r"notes\.mp4 gives no picture"):
            read(opened(f"file:{path}"), 1)


def test_cameras_that_are_not_there_are_told() -> None:
    with pytest.raises(SourceMissingError, match="there is no /dev/video99: plug the camera in"):
        read(opened("v4l2:/dev/video99"), 1)
    with pytest.raises(SourceMissingError, match=r"rtsp://127\.0\.0\.1:9/x gives no picture: Could not open"):
        read(opened("rtsp://u:secret@127.0.0.1:9/x"), 1)
    with pytest.raises(SourceMissingError, match=r'CSI camera 0 gives no picture: .*"nvarguscamerasrc"'):
        read(opened("csi:0"), 1)


@pytest.mark.parametrize("pipeline", [v4l2("/dev/video0"), csi(0), rtsp("rtsp://host/a?b=c&d=[e]"), TEST])
def test_a_pipelines_words_are_its_own(pipeline: object) -> None:
    """No word is empty, and each link stands between two elements."""
    line = words(pipeline, SIZE, 7)  # type: ignore[arg-type]
    assert line[0] == PROGRAM
    assert all(line)
    assert "! !" not in " ".join(line)
    assert line[-2:] == ["fd=7", "sync=false"]
