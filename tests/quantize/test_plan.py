"""The plan on disk: the same after reading, one line a list, and refused where it is not what was asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from quantized import calibration_of, tensor_plan

from edgecvx.errors import UsageError
from edgecvx.quantize.plan import Agreement, LayerPlan, QuantPlan, dump_plan, read_plan
from edgecvx.spec import ArchSpec, InputKind, ModelSpec, PreprocessSpec, WeightsSource

LAYER = LayerPlan(
    input=tensor_plan(-1.0, 2.0),
    output=tensor_plan(-0.1, 7.0),
    weight_scales=(0.125, 0.0078125),
    smoothing=(1.0, 2.0, 0.5),
    bias_correction=(0.0, -1e-3),
)
PLAN = QuantPlan(
    model="small.tag",
    weights_sha256="a" * 64,
    image_size=64,
    input_kind=InputKind.FLOAT,
    folds=("layernorm", "grn-rms"),
    engine="edgecvx",
    calibration=calibration_of(3),
    agreement=Agreement(worst=1.25, tensor="stem.0", median=1.01),
    layers={"stem.0": LAYER},
    activations={"stages.0.blocks.0.mlp.act": tensor_plan(-0.2, 4.0)},
)
SPEC = ModelSpec(
    arch=ArchSpec(name="small", depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)),
    tag="tag",
    num_classes=5,
    preprocess=PreprocessSpec(size=64),
    weights=WeightsSource(kind="file", ref="x", layout="timm", sha256="a" * 64),
)


def test_a_plan_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(dump_plan(PLAN))
    assert read_plan(path) == PLAN
    assert read_plan(path).sha256 == PLAN.sha256


def test_a_changed_number_is_one_changed_line() -> None:
    other = replace(PLAN, layers={"stem.0": replace(LAYER, weight_scales=(0.125, 0.5))})
    before, after = dump_plan(PLAN).decode().splitlines(), dump_plan(other).decode().splitlines()
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    assert PLAN.sha256 != other.sha256


def test_a_plan_fits_what_it_was_made_for_and_nothing_else() -> None:
    folds = PLAN.folds
    PLAN.check_fits(SPEC, InputKind.FLOAT, folds)
    other_weights = replace(SPEC, weights=replace(SPEC.weights, sha256="b" * 64))
    with pytest.raises(UsageError, match="for weights aaaaaaaaaaaa, not bbbbbbbbbbbb: calibrate again"):
        PLAN.check_fits(other_weights, InputKind.FLOAT, folds)
    with pytest.raises(UsageError, match="image size 64, not 96"):
        PLAN.check_fits(replace(SPEC, preprocess=PreprocessSpec(size=96)), InputKind.FLOAT, folds)
    with pytest.raises(UsageError, match=r"model small\.tag, not small\.other"):
        PLAN.check_fits(replace(SPEC, tag="other"), InputKind.FLOAT, folds)
    with pytest.raises(UsageError, match="input float, not uint8"):
        PLAN.check_fits(SPEC, InputKind.UINT8, folds)
    with pytest.raises(UsageError, match="folds layernorm, grn-rms, not none"):
        PLAN.check_fits(SPEC, InputKind.FLOAT, ())


@pytest.mark.parametrize(
    "content,told",
    [
        (b"\xff\xfe{", "not valid JSON"),
        (b"[1]", "plan version None"),
        (b'{"schema_version": 99}', "plan version 99"),
        (b'{"schema_version": 2, "model": 3}', "changed by hand"),
    ],
)
def test_a_damaged_plan_is_one_clear_error(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=told):
        read_plan(path)


@pytest.mark.parametrize("field,value", [("scale", 0.0), ("scale", float("nan")), ("zero_point", 300)])
def test_a_grid_that_is_none_is_found_when_the_plan_is_read(tmp_path: Path, field: str, value: float) -> None:
    data = json.loads(dump_plan(PLAN))
    data["layers"]["stem.0"]["input"]["asymmetric"][field] = value
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match="changed by hand"):
        read_plan(path)


@pytest.mark.parametrize(
    "field,value", [("weight_scales", 0.0), ("weight_scales", -1.0), ("smoothing", 1e-30), ("bias_correction", 1e39)]
)
def test_a_factor_that_no_file_can_hold_is_found_and_placed(tmp_path: Path, field: str, value: float) -> None:
    data = json.loads(dump_plan(PLAN))
    data["layers"]["stem.0"][field][1] = value
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=r"plan\.json\.layers\.stem\.0: .* changed by hand"):
        read_plan(path)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_no_number_of_a_plan_is_infinite(tmp_path: Path, number: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(dump_plan(PLAN).decode().replace('"worst": 1.25', f'"worst": {number}'))
    with pytest.raises(UsageError, match=f"holds {number}"):
        read_plan(path)


def test_what_never_ends_is_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(dump_plan(PLAN))
    monkeypatch.setattr("edgecvx.quantize.plan.LARGEST", path.stat().st_size - 1)
    with pytest.raises(UsageError, match="no plan that edgecvx wrote"):
        read_plan(path)


def test_a_wrong_value_is_told_in_few_words(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**json.loads(dump_plan(PLAN)), "folds": "x" * 10_000}))
    with pytest.raises(UsageError, match="expected a list") as told:
        read_plan(path)
    assert len(str(told.value)) < 200


def test_a_missing_plan_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_plan(tmp_path / "nowhere.json")
