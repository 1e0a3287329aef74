"""The command ``edgecvx-live``.

Parsed by argparse: on a board, what loads in a tenth of the time is there a second earlier.

Exit codes: 0 done; 1 not a single result came in the time that was given; 2 an error the user can mend, in one line;
70 a mistake of ours, with a traceback to report.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TypeVar

import edgecvx
from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.manifest import read_manifest
from edgecvx.runtimes.proof import question
from edgecvx_live import __version__
from edgecvx_live.engine import Engine, recommended_threads
from edgecvx_live.headless import follow, narrate, plain, printer, tell
from edgecvx_live.machine import process_start
from edgecvx_live.settings import Settings, over, read_settings
from edgecvx_live.sources import open_source
from edgecvx_live.sources.base import Source

T = TypeVar("T")


def main() -> None:
    """Runs the command and exits with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no such letters must not end the run
    sys.excepthook, threading.excepthook = _end_loudly, _end_loudly_too
    code = run(sys.argv[1:])
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)  # a runtime or camera that hangs in a daemon thread must not hold up the end


def run(arguments: Sequence[str]) -> int:
    """Runs the command; every error a user can mend is one line."""
    try:
        options = _parser().parse_args(arguments)
        settings = _settings(options)
        return _live(settings, options)
    except EdgecvxError as error:
        tell(sys.stderr, f"edgecvx-live: {plain(' '.join(str(error).split()))}")
        return 2
    except BrokenPipeError:  # whoever read our output has seen enough
        return 0


def _end_loudly(kind: type[BaseException], mistake: BaseException, where: TracebackType | None) -> None:
    """A mistake of ours: the program ends with a code of its own, and a service starts anew."""
    sys.__excepthook__(kind, mistake, where)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(70)


def _end_loudly_too(failure: threading.ExceptHookArgs) -> None:
    """The same in a thread, instead of going on half alive."""
    threading.__excepthook__(failure)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(70)


def _live(settings: Settings, options: argparse.Namespace) -> int:
    terminal = options.headless or options.json_lines
    if options.frames and not terminal:
        raise UsageError("--frames counts results on the terminal: say --headless or --json-lines, or --seconds here")
    source = open_source(settings.source, size=settings.size, loop=not options.once)
    engine = Engine(settings.artifacts, source, threads=settings.threads, smoothing=settings.smoothing)
    if options.side_by_side:
        first = [model.id for model in engine.status().models[:2]]
        if len(first) < 2:
            raise UsageError(f"--side-by-side takes two files, and there is one: {first[0]}")
        engine.select(first)
    if options.once and source.kind in ("file", "folder"):
        _try(source)
    stopping = threading.Event()
    with _stop_on_signals(stopping):
        _ask_again(settings)
        return _run(engine, settings, options, stopping)


def _run(engine: Engine, settings: Settings, options: argparse.Namespace, stopping: threading.Event) -> int:
    with engine:
        narrator = threading.Thread(
            target=narrate, args=(engine, stopping, sys.stderr), kwargs={"since": process_start()}, daemon=True
        )
        narrator.start()
        timer = threading.Timer(options.seconds or 0, stopping.set)
        timer.daemon = True
        if options.seconds:
            timer.start()
        try:
            if options.headless or options.json_lines:
                show = printer(sys.stdout, as_lines=options.json_lines)
                return 0 if follow(engine, show, stopping, frames=options.frames) else 1
            _serve(engine, settings, stopping)
            return 1 if options.seconds and engine.results.latest() is None else 0
        finally:
            stopping.set()
            timer.cancel()


def _ask_again(settings: Settings) -> None:
    """Checks the files that were not proved on this class of processors, before anything starts.

    One that computes something else here ends the command, where the engine would try to open it again and again. What
    comes of it is remembered.
    """
    for path in map(Path, settings.artifacts):
        asked = question(read_manifest(path))
        if asked.arises and asked.remembered() is None:
            kind = asked.processor.kind or "unknown"
            tell(
                sys.stderr, f"{plain(path.name)} was not proved on this class of processors ({kind}): checking it once"
            )
            edgecvx.load(path, threads=settings.threads or recommended_threads(path)).close()


def _try(source: Source) -> None:
    """One picture, before anything starts: what is shown once and cannot be shown now is not waited for."""
    try:
        source.open()
        source.read()
    finally:
        source.close()


def _serve(engine: Engine, settings: Settings, stopping: threading.Event) -> None:
    # Imported after the engine has started: the model opens meanwhile.
    from edgecvx_live.server import Server

    server = Server(engine, host=settings.host, port=settings.port, token=settings.token)
    tell(sys.stderr, f"open {server.link}")

    def end() -> None:
        stopping.wait()
        server.stop()

    threading.Thread(target=end, daemon=True).start()
    server.run()


@contextlib.contextmanager
def _stop_on_signals(stopping: threading.Event) -> Iterator[None]:
    """Ctrl-C, a polite kill and a terminal that goes away end the run in order; a second one ends it at once."""

    def stop(number: int, _: object) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: it is to outlive its terminal
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settings(options: argparse.Namespace) -> Settings:
    settings = read_settings(options.config) if options.config else Settings()
    said = {key: getattr(options, key) for key in ("source", "size", "threads", "smoothing", "host", "port", "token")}
    return over(settings, {**said, "artifacts": tuple(options.artifacts) or None})


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the six of all options before it."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see edgecvx-live --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="edgecvx-live",
        description="What a camera sees, live: on a page in the browser, or on the terminal.",
        epilog="Sources: picamera2, v4l2:/dev/video0, csi:0 (Jetson), rtsp://host/path, file:video.mp4, folder:DIR, "
        "test, demo.",
    )
    add = parser.add_argument
    size, whole, number = _a("WIDTHxHEIGHT", _size), _a("a whole number", int), _a("a number", float)
    add("artifacts", nargs="*", metavar="ARTIFACT", help="files that edgecvx export wrote; the first one runs first")
    add("--config", type=Path, metavar="FILE", help="a settings file; what is said here goes over it")
    add("--source", metavar="SOURCE", help="where frames come from (default: demo, drawn pictures)")
    add("--size", type=size, metavar="WxH", help="frames of a camera or a video (default: 640x480)")
    add("--once", action="store_true", help="show a video or a folder once, then stop")
    add("--threads", type=whole, metavar="N", help="threads of each runtime (default: what its target recommends)")
    add("--smoothing", type=number, metavar="S", help="seconds over which answers are averaged (default: 0.4)")
    add("--side-by-side", action="store_true", help="start with the first two files on the same frames")
    page = parser.add_argument_group("the page")
    page.add_argument("--host", help="where to listen (default: 127.0.0.1, this machine alone; 0.0.0.0 for all)")
    page.add_argument("--port", type=whole, help="default: 8080")
    page.add_argument("--token", help="what visitors must know; made for you where --host lets others in")
    terminal = parser.add_argument_group("the terminal")
    terminal.add_argument("--headless", action="store_true", help="no page: the answers on standard output")
    terminal.add_argument("--json-lines", action="store_true", help="no page: each result as a line of JSON")
    terminal.add_argument("--frames", type=_a("a number from 1", _count), metavar="N", help="stop after N results")
    parser.add_argument("--seconds", type=_a("a number of seconds", _seconds), metavar="S", help="stop after S seconds")
    parser.add_argument("--version", action="version", version=f"edgecvx-live {__version__}")
    return parser


def _a(what: str, read: Callable[[str], T]) -> Callable[[str], T]:
    """A value of the command line, by what it is called where it is none."""

    def value(text: str) -> T:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None

    return value


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    return int(width), int(height)


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise ValueError
    return count


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) < threading.TIMEOUT_MAX:
        raise ValueError
    return seconds
