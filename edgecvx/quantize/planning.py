"""Making the plan of an export: the pictures, the sweep, the decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.data.calibration import CalibrationFeed, open_calibration
from edgecvx.data.dataset import DEMO
from edgecvx.graph.values import spec_of
from edgecvx.quantize.decide import Decisions, decide
from edgecvx.quantize.judge import does_not_hold, judge
from edgecvx.quantize.observe.calibrate import calibrate
from edgecvx.quantize.observe.observed import Statistics
from edgecvx.quantize.plan import QuantPlan, read_plan
from edgecvx.quantize.request import PlanRequest
from edgecvx.quantize.trust import domain_warning, stability, stability_warning
from edgecvx.spec import InputKind, ModelSpec, PreprocessSpec

Array = NDArray[Any]

KEPT = 8
"""Calibration pictures on which a file is compared with FP32 before it is handed over, where none are held out."""
HELD_OUT = 17
"""One picture in so many goes into no statistics: decisions are judged on those. No number of classes that come in turn
divides it."""
LOOKED = 8
"""Drawn pictures that a file without calibration is made with."""
FEWEST = 4
"""Pictures that are held out, below which nothing is judged on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, some of the pictures it comes from, and what the user should know of it."""

    plan: QuantPlan
    kept: tuple[Array, ...] = ()
    """Pictures as the graph takes them, without the batch axis, on which files are compared with FP32; none for a plan
    that was read and comes from a folder, which nobody needs to have any more."""
    warnings: tuple[str, ...] = ()
    doubt: str | None = None
    """Where INT8 costs answers on pictures that no decision saw: how many, and what to do."""


def plan_quantization(
    graph: ir.Model,
    spec: ModelSpec,
    input_kind: InputKind,
    folds: tuple[str, ...],
    request: PlanRequest,
    *,
    on_part: Callable[[float], None] = lambda part: None,
) -> Planned:
    """Reads the plan that was asked for, or makes one.

    Args:
        graph: The canonical graph.
        spec: The model it was written from.
        input_kind: What it takes.
        folds: What was folded into it.
        request: The user's choices.
        on_part: Called with how much of the calibration is done, 0 to 1.

    Raises:
        EdgecvxError: The plan does not fit, or nothing can be calibrated on these pictures.
    """
    if request.plan is not None:
        plan = read_plan(request.plan)
        plan.check_fits(spec, input_kind, folds)
        return Planned(plan=plan, kept=_drawn_again(plan, graph, spec))
    return plan_on_pictures(graph, spec, input_kind, folds, request, on_part=on_part)[0]


def plan_on_pictures(
    graph: ir.Model,
    spec: ModelSpec,
    input_kind: InputKind,
    folds: tuple[str, ...],
    request: PlanRequest,
    *,
    on_part: Callable[[float], None] = lambda part: None,
) -> tuple[Planned, Statistics]:
    """Makes a plan, and returns what was seen with it, which is too large to be kept through an export.

    The arguments are those of ``plan_quantization``; the request names pictures.
    """
    chosen = open_calibration(request.calib, samples=request.samples)
    feed = CalibrationFeed(chosen, spec.preprocess, spec_of(graph.graph.inputs[0]))
    seen, held = list[Array](), list[Array]()

    def on_picture(done: int) -> None:
        on_part(min(1.0, (done + len(held)) / len(chosen.samples)))

    stats = calibrate(graph, _parted(feed, seen, held), on_picture=on_picture)
    calibration, agreement = feed.calibration, stability(stats)
    unlike = _about(spec, request) or domain_warning(stats, spec)
    warnings = [*feed.warnings, *stats.notes(), *filter(None, (unlike, stability_warning(agreement)))]
    decisions = _decisions(graph, feed, stats, request)
    judged, doubt = None, None
    if len(held) >= FEWEST and request.engine == "edgecvx" and spec.weights.kind != "random":
        decisions, judged = judge(graph, decisions, held)
        doubt = does_not_hold(decisions, judged)
    plan = QuantPlan(
        model=spec.name,
        weights_sha256=spec.weights.sha256,
        image_size=spec.preprocess.size,
        input_kind=input_kind,
        folds=folds,
        engine=request.engine,
        calibration=calibration,
        agreement=agreement,
        judged=judged,
        layers=decisions.layers,
        activations=decisions.activations,
    )
    kept = tuple(held if len(held) >= FEWEST else seen)
    return Planned(plan=plan, kept=kept, warnings=tuple(warnings), doubt=doubt), stats


def look(graph: ir.Model, preprocess: PreprocessSpec) -> Decisions:
    """What a file that finds its scales at run time has to know: how channels are smoothed, what int8 cannot hold.

    A few drawn pictures are enough, whatever the network was trained on: smoothing is exact in floats, and outliers
    that come from weights are there in every picture.
    """
    feed = CalibrationFeed(open_calibration(DEMO, samples=LOOKED), preprocess, spec_of(graph.graph.inputs[0]))
    return decide(graph, calibrate(graph, feed))


def _decisions(graph: ir.Model, pictures: Iterable[Array], stats: Statistics, request: PlanRequest) -> Decisions:
    """By the engine that was asked for; NNCF goes through the pictures itself once more."""
    if request.engine == "nncf":
        from edgecvx.quantize.nncf import decide_with_nncf

        return decide_with_nncf(graph, pictures, stats)
    return decide(graph, stats, estimator=request.estimator, refinements=request.refinements)


def _parted(pictures: Iterable[Array], seen: list[Array], held: list[Array]) -> Iterator[Array]:
    """Hands pictures on but for those that are held out, and keeps the first few of the others too."""
    for number, picture in enumerate(pictures, 1):
        if number % HELD_OUT == 0:
            held.append(picture[0])
            continue
        if len(seen) < KEPT:
            seen.append(picture[0])
        yield picture


def _drawn_again(plan: QuantPlan, graph: ir.Model, spec: ModelSpec) -> tuple[Array, ...]:
    """The pictures a plan that was read would have kept: it can be wrong in ways that only FP32's answers show."""
    if plan.calibration.kind != DEMO:
        return ()
    chosen = open_calibration(DEMO, samples=min(KEPT, plan.calibration.count))
    return tuple(picture[0] for picture in CalibrationFeed(chosen, spec.preprocess, spec_of(graph.graph.inputs[0])))


def _about(spec: ModelSpec, request: PlanRequest) -> str | None:
    if request.calib != DEMO or spec.weights.kind == "demo":
        return None
    return (
        f"calibrated on drawn pictures, which {spec.name} was not trained on: give --calib a folder with some hundred "
        "pictures like those it will see"
    )
