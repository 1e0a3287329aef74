"""The live app for half an hour: does memory stay flat, do frames stay fresh, does anybody's behaviour cost the others.

Runs the real ``edgecvx-live`` on drawn pictures with two artifacts side by side. Twenty viewers look on; for a part of
the time one more connects that never reads, and comes again whenever it is sent away. Writes Markdown and a plot.

    python benchmarks/live_soak.py femto-fp32.tflite femto-int8.tflite --minutes 30
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import platform
import queue
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from websockets.asyncio.client import connect

RESULTS = Path(__file__).parent / "results"
EVERY = 2.0
"""Seconds between two looks at the memory."""
READERS = 20
STUBBORN = (0.25, 0.65)
"""The part of the run during which there is a client that never reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The app's memory at one moment."""

    minute: float
    server_mb: float
    runtimes_mb: float
    own_mb: float
    """What no file stands behind, of all of them: flat unless something leaks, whatever else maps the same files."""
    load: float
    viewers: int
    told: float | None
    """What the app says of itself, in MB."""

    @property
    def total(self) -> float:
        """The app and its runtimes."""
        return self.server_mb + self.runtimes_mb


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One result, as a viewer was told of it."""

    minute: float
    frame: int
    age_ms: float
    waited_ms: float
    work_ms: float
    """Its preparation and every inference on it, each timed alone."""
    infer_ms: tuple[float, ...]
    fps: float

    @property
    def cost_ms(self) -> float:
        """From being taken up to the result: the steps, and what lies between them."""
        return self.age_ms - self.waited_ms


@dataclass(slots=True, kw_only=True)
class Record:
    """What the run leaves behind."""

    looks: list[Look] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    received: list[int] = field(default_factory=lambda: [0] * READERS)
    lost: int = 0
    """Times a viewer's connection ended before the run did."""
    sent_away: int = 0
    """Times the client that never reads was."""
    told_mb: float | None = None
    ended: int | None = None
    """The app's exit code; None when it had to be killed."""


def main() -> None:
    """Runs, and writes what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artifacts", nargs=2, type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "live-soak")
    parser.add_argument("--record", type=Path, default=Path(__file__).parent / "out" / "live-soak.json")
    parser.add_argument("--again", type=Path, help="write the result of an earlier run's record anew")
    options = parser.parse_args()
    if options.again is None:
        record = run(options.artifacts, options.minutes, options.threads)
        options.record.parent.mkdir(parents=True, exist_ok=True)
        options.record.write_text(json.dumps(asdict(record)), encoding="utf-8")
    else:
        record = read(options.again)
    names = [path.name for path in options.artifacts]
    options.out.with_suffix(".svg").write_text(plot(record, options.minutes), encoding="utf-8")
    report = told(record, names, options.minutes, options.threads)
    options.out.with_suffix(".md").write_text(report, encoding="utf-8")
    print(report)


def read(file: Path) -> Record:
    """An earlier run's record."""
    data = json.loads(file.read_text(encoding="utf-8"))
    looks = [Look(**each) for each in data.pop("looks")]
    shown = [Shown(**{**each, "infer_ms": tuple(each["infer_ms"])}) for each in data.pop("shown")]
    return Record(looks=looks, shown=shown, **data)


def run(artifacts: Sequence[Path], minutes: float, threads: int) -> Record:
    """The app, and everybody who connects to it."""
    record = Record()
    code = "from edgecvx_live.main import main; main()"
    arguments = [*map(str, artifacts), "--side-by-side", "--source", "demo", "--port", "0"]
    command = [sys.executable, "-c", code, *arguments, "--threads", str(threads)]
    app = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        asyncio.run(soak(app, link_of(app), minutes * 60, record))
        assert app.poll() is None, f"the app ended by itself, with {app.returncode}"
    finally:
        app.terminate()
        try:
            record.ended = app.wait(20)
        except subprocess.TimeoutExpired:
            app.kill()
    return record


def link_of(app: subprocess.Popen[str]) -> str:
    """The address the app prints; what it says later is read and passed on, or it would stand still."""
    assert app.stderr is not None
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in app.stderr or ():
            sys.stderr.write(line)
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    while True:
        line = lines.get(timeout=60)
        if "http://" in line:
            return next(word for word in line.split() if word.startswith("http://"))


async def soak(app: subprocess.Popen[str], link: str, seconds: float, record: Record) -> None:
    """Viewers, the client that never reads, and somebody who takes notes."""
    start = time.monotonic()
    tasks = [asyncio.ensure_future(view(link, i, start, record)) for i in range(READERS)]
    tasks.append(asyncio.ensure_future(never_read(link, start, seconds, record)))
    try:
        while (now := time.monotonic()) - start < seconds and app.poll() is None:
            record.looks.append(look(app.pid, (now - start) / 60, record))
            await asyncio.sleep(EVERY)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def view(link: str, place: int, start: float, record: Record) -> None:
    """A viewer as the page is one: says what it has seen. The first also takes notes."""
    url = f"ws://{urlsplit(link).netloc}/live"
    newest = -1
    while True:
        try:
            async with connect(url, max_size=None, compression=None) as socket:
                async for message in socket:
                    if isinstance(message, bytes):
                        continue
                    told = json.loads(message)
                    await socket.send(json.dumps({"seen": told["serial"]}))
                    record.received[place] += 1
                    if place == 0:
                        record.told_mb = told["status"]["memory_bytes"] / 1e6
                        result = told["result"]
                        if result is not None and result["frame"] != newest:
                            newest = result["frame"]
                            record.shown.append(shown(result, (time.monotonic() - start) / 60))
        except OSError:
            pass
        record.lost += 1
        await asyncio.sleep(1)


def shown(result: dict[str, Any], minute: float) -> Shown:
    """The part of a result that the record keeps."""
    infer = tuple(reading["infer_ms"] for reading in result["readings"])
    # Both artifacts of one model share one preparation, which each of them tells.
    work = max(reading["prepare_ms"] for reading in result["readings"]) + sum(infer)
    return Shown(
        minute=minute,
        frame=result["frame"],
        age_ms=result["age_ms"],
        waited_ms=result["waited_ms"],
        work_ms=work,
        infer_ms=infer,
        fps=result["fps"],
    )


async def never_read(link: str, start: float, seconds: float, record: Record) -> None:
    """Opens a WebSocket, asks for everything, and reads nothing of it."""
    await asyncio.sleep(STUBBORN[0] * seconds)
    host, port = urlsplit(link).hostname, urlsplit(link).port
    while time.monotonic() - start < STUBBORN[1] * seconds:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((host, port))
            key = base64.b64encode(os.urandom(16)).decode()
            client.sendall(
                f"GET /live HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            while not gone(client) and time.monotonic() - start < STUBBORN[1] * seconds:
                await asyncio.sleep(1)
            record.sent_away += gone(client)


def gone(client: socket.socket) -> bool:
    """Whether the other side has hung up, asked without reading."""
    state = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state not in (1, 2)  # established, or being so


def look(pid: int, minute: float, record: Record) -> Look:
    """Memory now, pages that processes share counted once."""
    app = psutil.Process(pid)
    own = app.memory_full_info().pss / 1e6
    children = app.children(recursive=True)
    runtimes = sum(child.memory_full_info().pss for child in children) / 1e6
    anonymous = sum(anonymous_bytes(each.pid) for each in (app, *children)) / 1e6
    viewers = sum(c.status == psutil.CONN_ESTABLISHED for c in app.net_connections("tcp"))
    return Look(
        minute=minute,
        server_mb=own,
        runtimes_mb=runtimes,
        own_mb=anonymous,
        load=os.getloadavg()[0],
        viewers=viewers,
        told=record.told_mb,
    )


def anonymous_bytes(pid: int) -> int:
    """Memory of a process that is no file's."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Anonymous:"))


# --- what is written ---------------------------------------------------------------------------------------------


def told(record: Record, names: Sequence[str], minutes: float, threads: int) -> str:
    """The result in words and numbers."""
    table = "\n".join(
        f"| {name} | {value} |" for name, value in (*memory_rows(record, minutes), *frame_rows(record, names))
    )
    stubborn = f"{STUBBORN[0] * minutes:.0f} to {STUBBORN[1] * minutes:.0f}"
    cores = os.cpu_count()
    system = f"Linux {platform.release().split('-')[0]} on {platform.machine()}, Python {platform.python_version()}"
    return f"""# The live app for {minutes:.0f} minutes

`benchmarks/live_soak.py`: the real `edgecvx-live` on drawn pictures, 25 a second, with two TFLite files side by side on
the same frames, threads per file: {threads}. {READERS} viewers from beginning to end; from minute {stubborn} one more
client that never reads, and comes again when it is sent away. Memory is that of the app and its runtimes' processes,
pages they share counted once (PSS); pages that other programs use too, such as Python's own, count in part, so it moves
when those come and go. Their own memory is what no file stands behind (anonymous pages). A frame's age is the time from
its arrival to its result; what it cost is the time from being taken up to its result: preparation, both inferences,
and what lies between these steps.

![memory and age of frames over time](live-soak.svg)

| | |
|---|---|
{table}

{system}, {cores} cores; a load of {cores} would be all they can do. The viewers
ran on them too, so the times are no benchmark of the models. What counts here is that memory stays and frames stay
fresh.
"""


def memory_rows(record: Record, minutes: float) -> list[tuple[str, str]]:
    """The first sixth is left out: runtimes and viewers arrive in it."""
    last = record.looks[-1].minute
    settled = [each for each in record.looks if each.minute >= last / 6]
    early = statistics.median(each.own_mb for each in settled if each.minute <= last / 3)
    late = statistics.median(each.own_mb for each in settled if each.minute >= last * 5 / 6)
    totals = [each.total for each in settled]
    slope = slope_per_hour([each.minute for each in settled], [each.own_mb for each in settled])
    loads = sorted(each.load for each in record.looks)
    return [
        (f"memory after minute {minutes / 6:.0f}, lowest and highest", f"{min(totals):.1f} and {max(totals):.1f} MB"),
        (f"own memory, median of minutes {minutes / 6:.0f} to {minutes / 3:.0f}", f"{early:.1f} MB"),
        (f"own memory, median of minutes {minutes * 5 / 6:.0f} to {minutes:.0f}", f"{late:.1f} MB"),
        (f"own memory after minute {minutes / 6:.0f}, trend", f"{slope:+.2f} MB per hour"),
        ("memory of the server's process alone, at the end", f"{record.looks[-1].server_mb:.1f} MB"),
        ("load of the machine: lowest, median, highest", f"{at(loads, 0, 1)}, {at(loads, 0.5, 1)}, {at(loads, 1, 1)}"),
    ]


def frame_rows(record: Record, names: Sequence[str]) -> list[tuple[str, str]]:
    """How fresh frames were, and how viewers fared."""
    shown = record.shown
    ages = sorted(each.age_ms for each in shown)
    ratios = sorted(each.age_ms / each.cost_ms for each in shown)
    over = sum(each.age_ms > 2 * each.cost_ms for each in shown)
    over_steps = sum(each.age_ms > 2 * each.work_ms for each in shown)
    waited = sorted(each.waited_ms for each in shown)
    times = zip(*(each.infer_ms for each in shown if len(each.infer_ms) == len(names)), strict=True)
    captured = shown[-1].frame - shown[0].frame + 1
    return [
        ("results shown to the first viewer", f"{len(shown)}, of {captured} frames captured"),
        ("age of a frame at its result: median, 99th percentile, highest", f"{spread(ages)} ms"),
        ("of it waiting for the one before", f"{spread(waited)} ms"),
        ("age over what the frame cost: median, 99th percentile, highest", spread(ratios, 2)),
        ("frames older than twice what they cost", f"{over} of {len(shown)}"),
        ("frames older than twice their preparation and inferences alone", f"{over_steps} of {len(shown)}"),
        *(
            (f"inference, {name}: median, 99th percentile, highest", f"{spread(sorted(column))} ms")
            for name, column in zip(names, times, strict=True)
        ),
        ("views each viewer got: fewest, most", f"{min(record.received)}, {max(record.received)}"),
        ("connections of viewers that broke", f"{record.lost}"),
        ("times the client that never reads was sent away", f"{record.sent_away}"),
        ("the app's exit code, asked to end", f"{record.ended}"),
    ]


def slope_per_hour(minutes: list[float], values: list[float]) -> float:
    """The least-squares line through the values."""
    hours = [minute / 60 for minute in minutes]
    middle, mean = statistics.fmean(hours), statistics.fmean(values)
    above = sum((h - middle) * (v - mean) for h, v in zip(hours, values, strict=True))
    return above / sum((h - middle) ** 2 for h in hours)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, 99th percentile and highest of sorted values."""
    return ", ".join(at(values, share, digits) for share in (0.5, 0.99, 1))


def at(values: Sequence[float], share: float, digits: int = 0) -> str:
    """The value below which a share of them lies."""
    return f"{values[min(len(values) - 1, int(share * len(values)))]:.{digits}f}"


# --- the plot ----------------------------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT = 880, 64, 20
BLUE, ORANGE, INK, RULE = "#2c5fa3", "#a8520f", "#565d69", "#e4e1d9"


def plot(record: Record, minutes: float) -> str:
    """Memory above, ages below, over the same minutes."""
    memory = [(each.minute, each.total) for each in record.looks]
    own = [(each.minute, each.own_mb) for each in record.looks]
    server = [(each.minute, each.server_mb) for each in record.looks]
    halves: dict[int, list[Shown]] = {}
    for each in record.shown:
        if each.minute < minutes:
            halves.setdefault(int(each.minute * 2), []).append(each)
    middle, high, bound = [], [], []
    for half, group in halves.items():
        ages = sorted(each.age_ms for each in group)
        middle.append(((half + 0.5) / 2, statistics.median(ages)))
        high.append(((half + 0.5) / 2, ages[int(0.99 * len(ages))]))
        bound.append(((half + 0.5) / 2, 2 * statistics.median(each.cost_ms for each in group)))
    begin, end = (LEFT + share * (WIDTH - LEFT - RIGHT) for share in STUBBORN)
    parts = [
        f'<rect width="{WIDTH}" height="490" fill="#ffffff"/>',
        f'<rect x="{begin:.1f}" y="24" width="{end - begin:.1f}" height="170" fill="#f3f1eb"/>',
        f'<text x="{begin + 8:.1f}" y="184" fill="{INK}">a client that never reads</text>',
        panel(24, 170, minutes, "memory, MB", [(memory, BLUE, ""), (own, INK, ""), (server, ORANGE, "")]),
        key(214, [(BLUE, "", "app and runtimes"), (INK, "", "their own memory"), (ORANGE, "", "the server's process")]),
        panel(268, 170, minutes, "age of a frame, ms", [(middle, BLUE, ""), (high, ORANGE, ""), (bound, INK, "5 4")]),
        key(458, [(BLUE, "", "median"), (ORANGE, "", "99th percentile"), (INK, "5 4", "twice the median cost")]),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 490" font-family="sans-serif" font-size="13">'
    return f"{head}{''.join(parts)}</svg>\n"


def panel(
    top: float, height: float, minutes: float, title: str, lines: list[tuple[list[tuple[float, float]], str, str]]
) -> str:
    """One pair of axes; amounts begin at 0, so flat looks flat and a slope is not magnified."""
    most = 1.15 * max(value for points, _, _ in lines for _, value in points)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if most / s <= 6)
    x_scale = (WIDTH - LEFT - RIGHT) / minutes
    drawn = [f'<text x="{LEFT}" y="{top - 8}" fill="{INK}">{title}</text>']
    for i in range(int(most / step) + 1):
        y = top + height - i * step / most * height
        drawn.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{RULE}"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{i * step}</text>')
    every = max(1, round(minutes / 6))
    for minute in range(0, int(minutes) + 1, every):
        x = LEFT + minute * x_scale
        unit = " min" if minute == 0 else ""
        drawn.append(
            f'<text x="{x:.1f}" y="{top + height + 16}" text-anchor="middle" fill="{INK}">{minute}{unit}</text>'
        )
    for points, colour, dashes in lines:
        path = " ".join(f"{LEFT + m * x_scale:.1f},{top + height - v / most * height:.1f}" for m, v in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dashed}/>')
    return "".join(drawn)


def key(y: float, entries: list[tuple[str, str, str]]) -> str:
    """What the lines are."""
    drawn, x = [], float(LEFT)
    for colour, dashes, words in entries:
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        drawn.append(
            f'<line x1="{x}" x2="{x + 22}" y1="{y + 12}" y2="{y + 12}" stroke="{colour}" stroke-width="2"{dashed}/>'
        )
        drawn.append(f'<text x="{x + 30}" y="{y + 16}" fill="{INK}">{words}</text>')
        x += 60 + 7.2 * len(words)
    return "".join(drawn)


if __name__ == "__main__":
    main()
