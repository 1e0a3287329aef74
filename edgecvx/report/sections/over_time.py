"""The whole measurement over time, and runs without a pause."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from edgecvx.report import words
from edgecvx.report.join import DevicePart
from edgecvx.report.markup import Html, figure
from edgecvx.report.plots import latency
from edgecvx.results.figures import times

TITLE = "Over the whole measurement"
SUSTAINED_SHOWN = 6
KEYS = (("turn", "turns"), ("turn still", "fixed work"))


def section(device: DevicePart) -> Html | None:
    """A plot for each call, and one for each artifact that ran without a pause."""
    return Html("".join([*_calls(device), *list(_sustained(device))[:SUSTAINED_SHOWN]]))


def _calls(device: DevicePart) -> Iterator[Html]:
    for bench in device.benches:
        rows = [row for row in latency.with_samples(device.rows) if row.bench is bench]
        if rows and sum(len(row.measured.model) for row in rows if row.measured) > 1:
            caption = "Each turn's median over the artifact's own, and a fixed piece of work timed between: what moves "
            caption = words.of_emulator(f"{caption}both is the machine.", device)
            title = f"{TITLE} ({bench.before.at})" if len(device.benches) > 1 else TITLE
            yield figure(title, caption, partial(latency.timeline, rows), keys=KEYS)


def _sustained(device: DevicePart) -> Iterator[Html]:
    for row in device.rows:
        run = row.measured.sustained if row.measured else None
        if run and any(w.samples_ns for w in run.windows):
            slowed = run.slowdown_ratio
            end = f"; at the end {times(slowed)} the time of the beginning" if slowed is not None else ""
            yield figure(
                f"{row.label}, {run.seconds / 60:.3g} minutes without a pause",
                words.of_emulator(f"Milliseconds, the median of every few seconds{end}.", device),
                partial(latency.lasting, row, run),
            )
