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
from edgecvx.quantize.calibrate import calibrate
from edgecvx.quantize.decide import Decisions, decide
from edgecvx.quantize.observed import Statistics
from edgecvx.quantize.plan import QuantPlan, read_plan
from edgecvx.quantize.request import PlanRequest
from edgecvx.quantize.trust import domain_warning, stability, stability_warning
from edgecvx.spec import InputKind, ModelSpec

Array = NDArray[Any]

KEPT = 8
"""Calibration pictures on which a file is compared with FP32 before it is handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, some of the pictures it comes from, and what the user should know of it."""

    plan: QuantPlan
    kept: tuple[Array, ...] = ()
    """Calibration pictures as the graph takes them, without the batch axis; none for a plan that was read and comes
    from a folder, which nobody needs to have any more."""
    warnings: tuple[str, ...] = ()


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
    chosen = open_calibration(request.calib, samples=request.samples)
    feed = CalibrationFeed(chosen, spec.preprocess, spec_of(graph.graph.inputs[0]))
    kept: list[Array] = []
    stats = calibrate(
        graph, _keeping(feed, kept), on_picture=lambda done: on_part(min(1.0, done / len(chosen.samples)))
    )
    calibration, agreement = feed.calibration, stability(stats)
    unlike = _about(spec, request) or domain_warning(stats, spec)
    warnings = [*feed.warnings, *stats.notes(), *filter(None, (unlike, stability_warning(agreement)))]
    decisions = _decisions(graph, feed, stats, request)
    plan = QuantPlan(
        model=spec.name,
        weights_sha256=spec.weights.sha256,
        image_size=spec.preprocess.size,
        input_kind=input_kind,
        folds=folds,
        engine=request.engine,
        calibration=calibration,
        agreement=agreement,
        layers=decisions.layers,
        activations=decisions.activations,
    )
    return Planned(plan=plan, kept=tuple(kept), warnings=tuple(warnings))


def _decisions(graph: ir.Model, pictures: Iterable[Array], stats: Statistics, request: PlanRequest) -> Decisions:
    """By the engine that was asked for; NNCF goes through the pictures itself once more."""
    if request.engine == "nncf":
        from edgecvx.quantize.nncf import decide_with_nncf

        return decide_with_nncf(graph, pictures, stats)
    return decide(graph, stats, estimator=request.estimator, refinements=request.refinements)


def _keeping(pictures: Iterable[Array], kept: list[Array]) -> Iterator[Array]:
    """Hands every picture on, and keeps the first few."""
    for picture in pictures:
        if len(kept) < KEPT:
            kept.append(picture[0])
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
