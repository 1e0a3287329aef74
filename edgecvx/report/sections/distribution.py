"""How single runs spread, and where the time goes from a picture's bytes to its classes."""

from __future__ import annotations

from functools import partial

from edgecvx.report import words
from edgecvx.report.join import DevicePart
from edgecvx.report.markup import Html, figure
from edgecvx.report.plots import latency

TITLE = "Every timed run"
DRAWN = 24
"""Rows of one plot."""
STRIPS = (("tick", "p50"), ("tick late", "p90"), ("ring", "slowest run"))
STAGES = (("box part0", "decode"), ("box part1", "prepare"), ("box part2", "infer"), ("box part3", "rank"))


def section(device: DevicePart) -> Html | None:
    """The fastest ones of each."""
    timed, whole = latency.with_samples(device.rows), latency.with_parts(device.rows)
    plots = []
    if timed:
        of = f" of the fastest {DRAWN} of {len(timed)}" if len(timed) > DRAWN else ""
        caption = f"The model alone{of}, each over its own median: how often each time came, and the slowest of all."
        caption = words.of_emulator(caption, device)
        plots.append(figure(TITLE, caption, partial(latency.strips, timed[:DRAWN]), keys=STRIPS))
    if whole:
        of = f" The fastest {DRAWN} of {len(whole)}." if len(whole) > DRAWN else ""
        caption = f"End to end, from a picture file's bytes to the five likeliest classes.{of}"
        caption = words.of_emulator(caption, device)
        title = "Where the time goes"
        plots.append(figure(title, caption, partial(latency.stages, whole[:DRAWN]), keys=STAGES))
    return Html("".join(plots))
