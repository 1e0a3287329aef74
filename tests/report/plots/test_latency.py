"""The plots of a benchmark: nothing is clipped, nothing is lost to thinning, and each says what it shows."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import benchmark_sample as sample
import pytest

from edgecvx.report import svg
from edgecvx.report.join import DevicePart, Row, join
from edgecvx.report.markup import NARROW, WIDE
from edgecvx.report.plots import latency as plots
from edgecvx.results import figures
from edgecvx.results.accuracy import Interval
from edgecvx.results.latency import DeviceBench, Turn
from edgecvx.results.texts import literal

WIDTHS = (NARROW, WIDE)


def part(bench: DeviceBench) -> DevicePart:
    (device,) = join([sample.validation()], [sample.benchmark(bench)]).devices
    return device


def every_plot(width: int) -> dict[str, str]:
    device = part(sample.pi())
    rows = plots.with_samples(device.rows)
    ((row, run),) = [(r, r.measured.sustained) for r in rows if r.measured and r.measured.sustained]
    return {
        "trade-off": plots.tradeoff(device.fronts[0], width=width),
        "strips": plots.strips(rows, width=width),
        "stages": plots.stages(plots.with_parts(rows), width=width),
        "timeline": plots.timeline(rows, width=width),
        "lasting": plots.lasting(row, run, width=width),
        "in order": plots.in_order(rows[0], width=width),
    }


def by_class(drawn: str, name: str) -> list[ElementTree.Element]:
    return [e for e in ElementTree.fromstring(drawn).iter() if name in e.get("class", "").split()]


def columns(drawn: str, kind: str) -> list[tuple[float, float, float]]:
    """Of a path of upright lines: where each stands, begins and how far it goes."""
    (path,) = by_class(drawn, kind)
    found = re.findall(r"M(-?[\d.]+) (-?[\d.]+)v(-?[\d.]+)", path.get("d", ""))
    return [(float(x), float(y), float(v)) for x, y, v in found]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_plot_says_what_it_shows_and_stays_inside(width: int) -> None:
    for name, drawn in every_plot(width).items():
        root = ElementTree.fromstring(drawn)
        assert root.get("role") == "img" and root.findtext("title") and root.findtext("desc"), name
        _, _, w, h = map(float, root.get("viewBox", "").split())
        for e in root.iter():
            for key, limit in {"x": w, "x1": w, "x2": w, "cx": w, "y": h, "y1": h, "y2": h, "cy": h}.items():
                assert -0.5 <= float(e.get(key, 0)) <= limit + 0.5, f"{name}: {e.attrib} is outside {w} x {h}"
            for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", e.get("d", "")):
                assert -0.5 <= float(x) <= w + 0.5 and -0.5 <= float(y) <= h + 0.5, f"{name}: {x}, {y}"


def with_outlier(times: float) -> Row:
    bench = sample.laptop()
    m = sample.measured(0, sample.identity("onnx", "fp32"), 20.0, outlier=times)
    (row,) = part(dataclasses.replace(bench, measured=(m,), ratios=())).rows
    return row


@pytest.mark.parametrize("times", [1.2, 3.0, 11.0, 4000.0])
def test_the_slowest_run_is_drawn_and_named_and_squeezes_nobody(times: float) -> None:
    row = with_outlier(times)
    drawn = plots.strips([row], width=WIDE)
    (slowest,) = by_class(drawn, "slowest")
    assert figures.milliseconds(times * 20.0) in (slowest.findtext("title") or "")
    places = [x for x, _, _ in columns(drawn, "runs")]
    assert float(slowest.get("cx", 0)) >= max(places) - plots.BAR
    usual = sorted(places)[: int(0.9 * len(places))]
    assert usual[-1] - usual[0] > 250, "what is usual keeps its shape"


def test_every_run_is_counted_once_in_a_strip() -> None:
    """A single run is a bar of its own; two hundred equal ones are one bar."""
    row = with_outlier(11.0)
    assert row.measured
    steady = tuple(dataclasses.replace(t, samples_ns=(20_000_000,) * 10) for t in row.measured.model)
    equal = dataclasses.replace(row, measured=dataclasses.replace(row.measured, model=steady))
    assert len(columns(plots.strips([equal]), "runs")) == 1
    assert all(-height >= 3 for _, _, height in columns(plots.strips([row]), "runs"))


def test_thinning_keeps_the_lowest_and_the_highest() -> None:
    """A hundred thousand runs are drawn in a column per pixel, and the one that was far out still reaches the top."""
    row = with_outlier(5.0)
    assert row.measured
    samples = tuple(20_000_000 + i % 7 for i in range(100_000))
    for at in (0, 54_321, 99_999):
        spoiled = (*samples[:at], 100_000_000, *samples[at + 1 :])
        turn = Turn(round=0, started=0.0, samples_ns=spoiled, parts_ns={}, yardstick_ns=None)
        many = dataclasses.replace(row, measured=dataclasses.replace(row.measured, model=(turn,)))
        drawn = plots.in_order(many)
        assert len(drawn) < 20_000
        highest = min(y for _, y, _ in columns(drawn, "points"))
        assert highest == pytest.approx(svg.fitting([20.0, 100.0], 150, 10, pad=0.06)(100.0), abs=0.1)


def test_dominated_rows_are_hollow_and_name_who_beats_them() -> None:
    device = part(sample.laptop())
    (front,) = device.fronts
    dots = by_class(plots.tradeoff(front), "dot")
    assert len(dots) == len(front.rows)
    assert len([d for d in dots if "best" in d.get("class", "")]) == len(front.best)
    beaten = [d.findtext("title") or "" for d in dots if "best" not in d.get("class", "")]
    assert all("is at least as fast and as right" in text for text in beaten)


def test_a_quiet_machine_looks_quiet() -> None:
    """Turns within one percent of each other stay near the middle line."""
    drawn = plots.timeline(plots.with_samples(part(sample.laptop()).rows))
    ys = [y for _, y, _ in columns(drawn, "points")]
    assert max(ys) - min(ys) < 120


def test_sensors_that_tell_nothing_have_no_panel() -> None:
    assert by_class(plots.timeline(plots.with_samples(part(sample.laptop()).rows)), "sensor") == []
    assert len(by_class(plots.timeline(plots.with_samples(part(sample.pi()).rows)), "sensor")) == 2


@pytest.mark.parametrize("values", [[5.0, 5.0], [1.0, 1.5, 3.9], [1.0, 4.1], [1e-6, 1e9], [7.0]])
def test_a_fitting_scale_clips_nothing_and_has_ticks(values: list[float]) -> None:
    scale = svg.fitting(values, 100, 200)
    assert all(100 <= scale(v) <= 200 for v in values)
    assert isinstance(scale, svg.LogScale) == (max(values) / min(values) > svg.LOGARITHMIC_FROM)
    assert 1 <= len(scale.ticks(5)) <= 12
    assert all(99.9 <= scale(v) <= 200.1 for v in scale.ticks(5))


def test_numbers_in_markdown_keep_their_first_digit() -> None:
    """A backslash before a digit is no escape: it would be shown."""
    assert literal("93.45%") == "93.45%" and literal("0.458×") == "0.458×"
    assert literal("3. item") == "3\\. item" and literal("- item") == "\\- item"


def test_figures_have_three_digits_that_count() -> None:
    assert [figures.milliseconds(v) for v in (0.01234, 0.5, 4.118, 41.18, 411.8)] == [
        "0.0123 ms", "0.500 ms", "4.12 ms", "41.2 ms", "412 ms",
    ]  # fmt: skip
    assert figures.interval_text(Interval(low=18.601, high=18.649)) == "[18.60, 18.65]", (
        "as many digits as tell the ends apart"
    )
    assert figures.times(0.4581) == "0.458×" and figures.times(1.0) == "1.00×"
