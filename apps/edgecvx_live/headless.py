"""Results on the terminal: one line that changes where there is a terminal, a line for each new answer where not."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import TextIO

from edgecvx.errors import UsageError
from edgecvx_live.engine import Engine
from edgecvx_live.values import Result, as_json

_LOOK = 0.25
_BAR = 20
Show = Callable[[Result], None]


def follow(engine: Engine, show: Show, stopping: threading.Event, *, frames: int | None = None) -> int:
    """Shows each result until it is time to stop, ``frames`` were shown, or the source is through.

    Returns:
        How many were shown.
    """
    serial = shown = 0
    while not stopping.is_set() and (frames is None or shown < frames):
        ended = engine.source_state().state == "ended"
        got = engine.results.wait(serial, timeout=_LOOK)
        if got is None:
            if ended:
                break
            continue
        serial, result = got
        show(result)
        shown += 1
    return shown


def narrate(engine: Engine, stopping: threading.Event, out: TextIO, *, since: float) -> None:
    """Tells what happens to source and models, once each, until it is time to stop; runs in a thread of its own.

    Args:
        engine: What to watch.
        stopping: When to end.
        out: Where to write.
        since: ``time.time()`` at which the process began: the first result is told with the time it took.
    """
    told: tuple[str, str] = ("", "")
    error: str | None = None
    first = False
    while not stopping.is_set():
        source = engine.source_state()
        if told != (now := (source.state, source.sentence)):
            told = now
            _say(out, f"{source.name}: {source.state}" + (f": {source.sentence}" if source.sentence else ""))
        if error != (wrong := engine.error()):
            error = wrong
            _say(out, f"model: {wrong or 'runs again'}")
        if not first and engine.results.latest() is not None:
            first = True
            _say(out, f"first result {time.time() - since:.1f} s after the start")
        if first:
            stopping.wait(_LOOK)
        else:
            engine.results.wait(0, timeout=_LOOK)


def tell(out: TextIO, text: str) -> None:
    """Writes a line to whoever follows; one that cannot be written, to a full disk say, ends nothing."""
    with contextlib.suppress(OSError):
        out.write(f"{text}\n")
        out.flush()


def printer(out: TextIO, *, as_lines: bool) -> Show:
    """How results are shown here.

    Raises, where it is called:
        BrokenPipeError: Nobody reads any more.
        UsageError: They cannot be written, to a full disk say.
    """
    if as_lines:
        return lambda result: _print(out, json.dumps(as_json(result), ensure_ascii=True) + "\n")
    if out.isatty():
        return lambda result: _print(out, f"\r\x1b[K{_line(result)}")
    last: list[tuple[int, ...]] = []

    def on_change(result: Result) -> None:
        best = tuple(reading.top[0].index for reading in result.readings)
        if last[-1:] != [best]:
            last[:] = [best]
            _print(out, _line(result) + "\n")

    return on_change


def _line(result: Result) -> str:
    parts = []
    for reading in result.readings:
        best = reading.top[0]
        bar = "█" * round(best.probability * _BAR)
        answer = f"{plain(best.label):<20.40} {bar:<{_BAR}} {best.probability:4.0%}"
        parts.append(f"{reading.precision} {answer} {reading.infer_ms:5.0f} ms")
    return f"{' | '.join(parts)}  {result.fps:4.1f} fps"


def plain(text: str) -> str:
    """A text from a file without what a terminal would obey."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _say(out: TextIO, text: str) -> None:
    clear = "\r\x1b[K" if out.isatty() else ""  # the line of results, which changes in its place
    tell(out, f"{clear}{plain(text)}")


def _print(out: TextIO, text: str) -> None:
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"the results cannot be written: {error.strerror or error}") from None
