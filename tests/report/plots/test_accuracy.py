"""Plots: numbers in, well-formed SVG out, with what matters at the right place."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import pytest
import validation_sample as sample

from edgecvx.report import svg
from edgecvx.report.markup import NARROW, WIDE
from edgecvx.report.plots import accuracy as plots
from edgecvx.results.accuracy import ArtifactOutcome, Histogram, Interval
from edgecvx.results.layers import suspects

WIDTHS = (NARROW, WIDE)


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def by_class(svg: str, name: str) -> list[ElementTree.Element]:
    return [e for e in parse(svg).iter() if name in e.get("class", "").split()]


def row(delta: float, half: float, allowed: float | None = 0.01) -> ArtifactOutcome:
    o = sample.outcome("a.onnx", "pass", lost=3, gained=4, closeness=-6.2)
    assert o.top1
    return dataclasses.replace(
        o,
        verdict=dataclasses.replace(o.verdict, allowed_drop=allowed),
        top1=dataclasses.replace(o.top1, delta=delta, interval=Interval(low=delta - half, high=delta + half)),
    )


def every_plot(width: int) -> dict[str, str]:
    o = sample.validation().artifacts[1]
    assert o.top1 and o.answers
    return {
        "forest": plots.forest([row(-0.029, 0.009), row(0.0, 0.002)], width=width),
        "running": plots.running(o.running, 0.01, width=width),
        "cosine": plots.cosine_histogram(o.outputs[0].cosine_histogram, width=width),
        "confidence": plots.confidence_histogram(o.answers.confidence_histogram, width=width),
        "classes": plots.class_changes(o.worst_classes, width=width),
        "depth": plots.depth(o.layers, suspects(o.layers), width=width),
    }


@pytest.mark.parametrize("width", WIDTHS)
def test_every_plot_says_what_it_shows_and_stays_inside(width: int) -> None:
    for name, plot in every_plot(width).items():
        root = parse(plot)
        assert root.get("role") == "img" and root.get("aria-label"), name
        assert root.findtext("title") and root.findtext("desc"), name
        _, _, w, h = map(float, root.get("viewBox", "").split())
        for e in root.iter():
            for key, limit in {"x": w, "x1": w, "x2": w, "cx": w, "y": h, "y1": h, "y2": h, "cy": h}.items():
                assert -0.5 <= float(e.get(key, 0)) <= limit + 0.5, f"{name}: {e.attrib} is outside {w} x {h}"


def test_the_forest_plot_puts_the_allowed_drop_where_it_belongs() -> None:
    svg = plots.forest([row(-0.02, 0.002, allowed=0.02)])
    centre = by_class(svg, "centre")[0]
    middle = float(centre.get("x", 0)) + float(centre.get("width", 0)) / 2
    assert float(by_class(svg, "allowed")[0].get("x1", 0)) == pytest.approx(middle, abs=0.2), "delta = -allowed"
    assert middle < float(by_class(svg, "zero")[0].get("x1", 0)), "a loss lies to the left"


def test_a_disaster_does_not_squeeze_the_others() -> None:
    """An artifact that loses 60 points gets an arrow; the others keep a scale on which their intervals can be seen."""
    svg = plots.forest([row(-0.6, 0.02), row(-0.004, 0.003)])
    arrows = [e for e in by_class(svg, "whisker") if e.tag == "path"]
    assert len(arrows) == 2, "both ends of its interval are out of the plot"
    lines = [e for e in by_class(svg, "whisker") if e.tag == "line" and e.get("y1") == e.get("y2")]
    assert float(lines[1].get("x2", 0)) - float(lines[1].get("x1", 0)) > 20


def test_a_histogram_shows_a_single_picture_among_thousands() -> None:
    histogram = Histogram(edges=tuple(float(e) for e in range(-12, 1)), counts=(5000, *[0] * 10, 1))
    bars = by_class(plots.cosine_histogram(histogram), "bar")
    assert len(bars) == 2
    assert float(bars[1].get("height", 0)) >= 1.5


def test_a_histogram_of_nothing_is_no_plot() -> None:
    assert plots.cosine_histogram(Histogram(edges=(0.0, 1.0), counts=(0,))) == ""


def test_the_suspect_is_marked_and_named() -> None:
    layers = sample.layers(24.0, broken=19)
    svg = plots.depth(layers, suspects(layers))
    (mark,) = by_class(svg, "suspect")
    assert layers[19].name in (mark.findtext("title") or "")
    assert [e.text for e in by_class(svg, "name")] == [layers[19].name]
    places = [float(e.get("cy", 0)) for e in (*by_class(svg, "born"), mark)]
    assert float(mark.get("cy", 0)) == max(places), "the largest error is the lowest dot"


@pytest.mark.parametrize("text", ["</text><script>alert(1)</script>", "a & b < c", "\"quoted\" 'twice'"])
def test_text_stays_text(text: str) -> None:
    for o in sample.hostile(text).artifacts[:1]:
        for plot in (plots.class_changes(o.worst_classes), plots.depth(o.layers, o.layers[:1])):
            assert not [e for e in parse(plot).iter() if e.tag == "script"]
            assert text in " ".join(parse(plot).itertext())


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.039, 0.004), (0.0, 37.0), (-12.0, 0.5), (0.0, 5000.0)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = svg.Scale(low=low, high=high, start=0, end=100).ticks(5)
    assert 2 <= len(ticks) <= 11
    assert low - 1e-9 <= ticks[0] and ticks[-1] <= high + 1e-9
    step = ticks[1] - ticks[0]
    assert re.fullmatch(r"[125](\.0+)?e[+-]\d+", f"{step:.6e}")
