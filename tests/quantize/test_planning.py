"""From pictures to a plan: which engine decides, what is remembered of the pictures, and what the user is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest
import support
from lowerings import canonical

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.quantize.plan import dump_plan
from edgecvx.quantize.planning import FEWEST, HELD_OUT, KEPT, Planned, plan_quantization
from edgecvx.quantize.request import PlanRequest
from edgecvx.spec import InputKind, ModelSpec, PreprocessSpec, WeightsSource

FOLDS = ("some", "folds")
SPEC = ModelSpec(
    arch=support.SMALL,
    tag="tag",
    num_classes=5,
    preprocess=PreprocessSpec(size=32),
    weights=WeightsSource(kind="file", ref="birds", layout="timm", sha256="a" * 64),
)


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return canonical(support.network(num_classes=5), size=32)


def planned(graph: ir.Model, request: PlanRequest, spec: ModelSpec = SPEC) -> Planned:
    return plan_quantization(graph, spec, InputKind.FLOAT, FOLDS, request)


def test_a_plan_says_what_it_was_made_for(graph: ir.Model) -> None:
    found = planned(graph, PlanRequest(samples=12))
    plan = found.plan
    assert (plan.model, plan.weights_sha256, plan.image_size, plan.folds) == (SPEC.name, "a" * 64, 32, FOLDS)
    assert plan.calibration.count == len(plan.calibration.pictures) == 12
    plan.check_fits(SPEC, InputKind.FLOAT, FOLDS)
    assert len(found.kept) == KEPT and found.kept[0].shape == (3, 32, 32)


def test_all_of_the_calibration_is_shown(graph: ir.Model) -> None:
    parts: list[float] = []
    plan_quantization(graph, SPEC, InputKind.FLOAT, FOLDS, PlanRequest(samples=3), on_part=parts.append)
    assert parts == pytest.approx([1 / 3, 2 / 3, 1])


def test_the_request_reaches_the_decisions(graph: ir.Model) -> None:
    plain = planned(graph, PlanRequest(samples=3, estimator="minmax", refinements=("bias-correction",))).plan
    for layer in plain.layers.values():
        assert layer.input.estimator == "minmax" and layer.bias_correction and not layer.smoothing


def test_drawn_pictures_are_only_for_the_network_that_was_trained_on_them(graph: ir.Model) -> None:
    told = " ".join(planned(graph, PlanRequest(samples=3)).warnings)
    assert "calibrated on drawn pictures, which" in told and "give --calib a folder" in told
    demo = replace(SPEC, weights=replace(SPEC.weights, kind="demo"))
    assert "calibrated on drawn pictures, which" not in " ".join(planned(graph, PlanRequest(samples=3), demo).warnings)


def test_a_plan_that_is_given_is_taken_as_it_is(graph: ir.Model, tmp_path: Path) -> None:
    made, path = planned(graph, PlanRequest(samples=3)).plan, tmp_path / "made.plan.json"
    path.write_bytes(dump_plan(made))
    again = planned(graph, PlanRequest(plan=path))
    assert again.plan == made
    with pytest.raises(UsageError, match="made for weights aaaaaaaaaaaa, not bbbbbbbbbbbb"):
        planned(graph, PlanRequest(plan=path), replace(SPEC, weights=replace(SPEC.weights, sha256="b" * 64)))


def test_nothing_is_planned_without_pictures(graph: ir.Model, tmp_path: Path) -> None:
    with pytest.raises(EdgecvxError, match="there is no picture to calibrate on"):
        planned(graph, PlanRequest(calib=tmp_path))


def test_one_picture_in_seventeen_goes_into_no_statistics_and_judges_them(graph: ir.Model) -> None:
    found = planned(graph, PlanRequest(samples=FEWEST * HELD_OUT))
    assert found.plan.judged is not None
    assert found.plan.judged.pictures == len(found.kept) == FEWEST
    assert found.plan.calibration.count == FEWEST * HELD_OUT, "they are calibration pictures, which validate leaves out"
    few = planned(graph, PlanRequest(samples=FEWEST * HELD_OUT - 1))
    assert few.plan.judged is None and len(few.kept) == KEPT


def test_random_weights_have_no_answers_to_hold(graph: ir.Model) -> None:
    random = replace(SPEC, weights=replace(SPEC.weights, kind="random"))
    assert planned(graph, PlanRequest(samples=FEWEST * HELD_OUT), random).plan.judged is None
