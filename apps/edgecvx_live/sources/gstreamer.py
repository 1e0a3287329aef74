"""Cameras, streams and video files through GStreamer: one program for all of them, the pipelines as data.

``gst-launch-1.0`` is started with its words as they are, without a shell; but it joins them and parses the result, in
which ``!`` links elements. So nothing a user writes becomes a word of its own: device names and camera numbers are held
to what such names consist of, an address to the characters an address has, and a video file is opened here and handed
over as standard input, so that its name never gets there at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgecvx.errors import UsageError
from edgecvx_live.sources.pipe import PipeSource, Program

PROGRAM = "gst-launch-1.0"
INSTALL = "gst-launch-1.0 is not installed: sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-good"

_DEVICE = re.compile(r"/dev/(?:video\d{1,3}|v4l/by-(?:id|path)/[\w.:+-]+)", re.ASCII)
_ADDRESS = re.compile(r"rtsps?://[A-Za-z0-9._~:/?#\[\]@$&*+,;=%-]+")
"""The characters of an address (RFC 3986), without those that mean something to a shell or to gst-launch: ! ' ( )."""

LIVE = "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0"
"""Between a camera and us there is one frame at most: the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Where frames come from, in GStreamer's words; what turns them into RGB of our size is the same for all."""

    source: str
    live: bool = True
    """Whether frames come when they come; a file is played at its own speed."""


def v4l2(device: str) -> Pipeline:
    """A USB camera; decodebin, because the cheap ones send JPEG and the good ones raw pictures."""
    return Pipeline(source=f"v4l2src device={device} ! decodebin")


def csi(sensor: int) -> Pipeline:
    """A camera on a Jetson's ribbon connector. Not run on hardware."""
    return Pipeline(
        source=f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1 "
        "! nvvidconv ! video/x-raw,format=BGRx"
    )


def rtsp(address: str) -> Pipeline:
    """A network camera. Over TCP: lost packets would be seen as smears, and smears would be classified."""
    return Pipeline(
        source=f'rtspsrc location="{address}" latency=100 protocols=tcp ! application/x-rtp,media=video ! decodebin'
    )


FILE = Pipeline(source="fdsrc fd=0 ! decodebin", live=False)
TEST = Pipeline(source="videotestsrc is-live=true pattern=ball ! video/x-raw,framerate=25/1")


def words(pipeline: Pipeline, size: tuple[int, int], descriptor: int) -> list[str]:
    """The command line.

    The picture is cut to the shape of our frames before it is scaled: nothing is stretched, no borders are added, and
    what is cut away at the sides is outside of the centre square, which is all the network sees.
    """
    width, height = size
    steps = [
        pipeline.source,
        *([LIVE] if pipeline.live else []),
        "videoconvert",
        f"aspectratiocrop aspect-ratio={width}/{height}",
        "videoscale",
        "videoconvert",
        f"video/x-raw,format=RGB,width={width},height={height},pixel-aspect-ratio=1/1",
        f"fdsink fd={descriptor} sync={'false' if pipeline.live else 'true'}",
    ]
    return [PROGRAM, "--quiet", *" ! ".join(steps).split(" ")]


def open_v4l2(device: str, size: tuple[int, int]) -> PipeSource:
    """A USB camera by its device."""
    device = device or "/dev/video0"
    if not _DEVICE.fullmatch(device):
        raise UsageError(f"v4l2:{device} is no camera: write v4l2:/dev/video0, or a name out of /dev/v4l/by-id")
    return _source(
        "v4l2",
        device,
        v4l2(device),
        size,
        advice="is it a camera, and does no other program use it? v4l2-ctl --list-devices",
        needs=Path(device),
        absent="plug the camera in, it is taken up by itself; `ls /dev/video*` shows what is there",
    )


def open_csi(sensor: str, size: tuple[int, int]) -> PipeSource:
    """A Jetson's CSI camera by its number."""
    if not re.fullmatch(r"[0-9]?", sensor):
        raise UsageError(f"csi:{sensor} is no camera: write csi:0, or csi:1 for the second connector")
    number = int(sensor or "0")
    advice = "see that the ribbon sits right and that jetson-io.py names this camera"
    return _source("csi", f"CSI camera {number}", csi(number), size, advice=advice)


def open_rtsp(address: str, size: tuple[int, int]) -> PipeSource:
    """A network camera by its address."""
    if len(address) > 500 or not _ADDRESS.fullmatch(address) or not urlsplit(address).hostname:
        raise UsageError(
            "this is no address of a network camera: write rtsp://host/path, and other characters than letters, digits "
            "and ._~:/?#[]@$&*+,;=- as %XX"
        )
    parts = urlsplit(address)
    user, _, place = parts.netloc.rpartition("@")
    # Some cameras want user and password in the path or the query: /user=admin_password=…
    rest = address.partition(f"{place}/")[2]
    name = f"{parts.scheme}://{place}{parts.path if '=' not in parts.path else '/…'}"
    advice = "see that the camera is on, and that address, user and password are right"
    return _source("rtsp", name, rtsp(address), size, advice=advice, secrets=(user, rest if "=" in rest else ""))


def open_file(path: Path, size: tuple[int, int], *, loop: bool) -> PipeSource:
    """A video file."""
    if path.is_dir():
        raise UsageError(f"file:{path} is no video: write file:video.mp4; a folder of pictures is folder:{path}")
    program = Program(
        argv=lambda descriptor: words(FILE, size, descriptor),
        advice="is it a video, and are its codecs here? sudo apt install gstreamer1.0-libav",
        install=INSTALL,
        stdin=path,
        needs=path,
        absent="name the video with its folder",
        ends=True,
        loop=loop,
    )
    return PipeSource("file", path.name, program, size)


def open_test(size: tuple[int, int]) -> PipeSource:
    """GStreamer's own test picture: says whether GStreamer works at all."""
    return _source("test", "test pattern", TEST, size, advice="does gst-launch-1.0 work on the command line?")


def _source(
    kind: str,
    name: str,
    pipeline: Pipeline,
    size: tuple[int, int],
    *,
    advice: str,
    needs: Path | None = None,
    absent: str = "",
    secrets: tuple[str, ...] = (),
) -> PipeSource:
    program = Program(
        argv=lambda descriptor: words(pipeline, size, descriptor),
        advice=advice,
        install=INSTALL,
        needs=needs,
        absent=absent,
        secrets=tuple(filter(None, secrets)),
    )
    return PipeSource(kind, name, program, size)
