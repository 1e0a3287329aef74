"""The vocabulary: a value that exists makes sense, and JSON brings back exactly it or nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from support import SMALL

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.spec import (
    ArchSpec,
    InputKind,
    ModelSpec,
    Precision,
    PreprocessSpec,
    Task,
    TensorSpec,
    WeightsSource,
    check_image_size,
    from_json,
    to_json,
)

SOURCE = WeightsSource(kind="file", ref="birds.pth", layout="original", sha256="ab" * 32, license="apache-2.0")
MODEL = ModelSpec(
    arch=SMALL,
    tag="birds",
    num_classes=2,
    preprocess=PreprocessSpec(size=288, crop_pct=0.95, interpolation="bilinear"),
    weights=SOURCE,
    labels=("Zaunkönig", 'the "other"'),
)
TENSOR = TensorSpec(name="image", shape=(1, 3, 64, 64), dtype="uint8", layout="NCHW")
VALUES = [
    MODEL,
    dataclasses.replace(MODEL, labels=None, num_classes=0),
    dataclasses.replace(SMALL, grn=False, stem="overlap", stem_mid=4, act="silu", norm_eps=1e-12),
    PreprocessSpec(mean=(0.1, 1 / 3, 1e-9), std=(0.1, 0.2, 0.7), resize="squash", exif="ignore"),
    dataclasses.replace(SOURCE, license=None),
    TENSOR,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """One field of each kind that specs use."""

    task: Task
    tensors: tuple[TensorSpec, ...]
    pair: tuple[int, float]
    by_name: Mapping[str, float]
    flag: bool
    count: int
    kind: Literal["a", "b"]
    note: str | None = None


EVERYTHING = Everything(
    task=Task.EMBED, tensors=(TENSOR, TENSOR), pair=(1, 0.5), by_name={"x": 1.5}, flag=True, count=3, kind="b"
)


# There and back.


@pytest.mark.parametrize("value", [*VALUES, EVERYTHING], ids=lambda v: type(v).__name__)
def test_round_trip_through_text(value: object) -> None:
    text = json.dumps(to_json(value))
    assert from_json(type(value), json.loads(text)) == value
    assert json.dumps(to_json(from_json(type(value), json.loads(text)))) == text


def test_json_is_plain_and_in_order() -> None:
    assert to_json({"task": Task.CLASSIFY, "p": Precision.FP16, "i": InputKind.UINT8, "t": (1, None)}) == {
        "task": "classify",
        "p": "fp16",
        "i": "uint8",
        "t": [1, None],
    }
    assert list(to_json(TENSOR)) == ["name", "shape", "dtype", "layout"]


def test_what_has_no_json_form_is_not_guessed() -> None:
    with pytest.raises(TypeError, match="set has no JSON form"):
        to_json({"names": {"a", "b"}})


def test_defaults_need_not_be_written() -> None:
    assert from_json(PreprocessSpec, {}) == PreprocessSpec()


def test_whole_numbers_are_floats_too() -> None:
    """JSON writers drop the point: 1 for 1.0."""
    spec = from_json(PreprocessSpec, {"crop_pct": 1})
    assert (spec.crop_pct, type(spec.crop_pct)) == (1.0, float)


# What does not read.


def changed(**changes: Any) -> dict[str, Any]:
    return {**to_json(EVERYTHING), **changes}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(colour="red", age=3), "value: unknown age, colour"),
        ({k: v for k, v in changed().items() if k not in ("flag", "count")}, "value: missing count, flag"),
        ([1, 2], r"value: expected an object, got \[1, 2\]"),
        (None, "value: expected an object, got None"),
        (changed(task="segment"), "value.task: 'segment' is not one of classify, features, embed"),
        (changed(kind="c"), "value.kind: 'c' is not one of 'a', 'b'"),
        (changed(count="3"), "value.count: expected int, got '3'"),
        (changed(count=3.0), "value.count: expected int, got 3.0"),
        (changed(count=True), "value.count: expected int, got True"),
        (changed(flag=1), "value.flag: expected bool, got 1"),
        (changed(note=7), "value.note: expected str, got 7"),
        (changed(pair=[1]), r"value.pair: expected a list of 2, got \[1\]"),
        (changed(pair=[1, 2, 3]), r"value.pair: expected a list of 2, got \[1, 2, 3\]"),
        (changed(pair="12"), "value.pair: expected a list of 2, got '12'"),
        (changed(tensors={}), "value.tensors: expected a list, got {}"),
        (changed(pair=[1, False]), r"value.pair\[1\]: expected float, got False"),
        (changed(pair=[1, 10**400]), r"value.pair\[1\]: 1000+\.\.\.0+ is too large"),
        (changed(by_name=[1]), r"value.by_name: expected an object, got \[1\]"),
        (changed(by_name={"x": "y"}), "value.by_name.x: expected float, got 'y'"),
        (changed(tensors=[to_json(TENSOR) | {"name": None}]), r"value.tensors\[0\].name: expected str, got None"),
        (changed(tensors=[to_json(TENSOR) | {"stride": 1}]), r"value.tensors\[0\]: unknown stride"),
    ],
)
def test_errors_say_where_and_what(data: object, message: str) -> None:
    with pytest.raises(EdgecvxError, match=f"^{message}"):
        from_json(Everything, data)


def test_where_names_the_place_in_a_file() -> None:
    with pytest.raises(EdgecvxError, match=r"^birds\.edgecvx\.json: unknown size_px"):
        from_json(PreprocessSpec, {"size_px": 224}, where="birds.edgecvx.json")


def test_what_json_brings_is_checked_like_what_code_makes() -> None:
    with pytest.raises(UsageError, match="image size 100 does not work"):
        from_json(PreprocessSpec, {"size": 100})


# What makes no sense.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1, 1, 1)}, "four stages"),
        ({"dims": (8, 16, 24, 32, 40)}, "four stages"),
        ({"kernel_sizes": (7, 7, 7)}, "four stages"),
        ({"kernel_sizes": (7, 7, 6, 7)}, "kernels are odd"),
        ({"depths": (1, 0, 1, 1)}, "at least 1"),
        ({"dims": (8, 16, -24, 32)}, "at least 1"),
        ({"kernel_sizes": (7, 7, 7, -1)}, "at least 1"),
        ({"stem": "overlap"}, "does not go with stem_mid=None"),
        ({"stem_mid": 16}, "stem 'patch' does not go with stem_mid=16"),
        ({"stem": "overlap", "stem_mid": 0}, "at least 1"),
        ({"grn_eps": 0.0}, "epsilons must be positive"),
        ({"norm_eps": float("nan")}, "epsilons must be positive"),
    ],
)
def test_architectures_that_do_not_exist(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EdgecvxError, match=f"{SMALL.name}: .*{message}"):
        dataclasses.replace(SMALL, **changes)


@pytest.mark.parametrize("size", [32, 64, 224, 288, 384, 2048])
def test_image_sizes(size: int) -> None:
    assert check_image_size(size) == PreprocessSpec(size=size).size == size


@pytest.mark.parametrize("size", [-32, 0, 1, 31, 33, 100, 225, 2080])
def test_image_sizes_that_do_not_fit_the_stride(size: int) -> None:
    with pytest.raises(
        UsageError, match=f"image size {size} does not work: it must be a multiple of 32, from 32 to 2048"
    ):
        PreprocessSpec(size=size)


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_pct": 0.0},
        {"crop_pct": 1.01},
        {"crop_pct": float("nan")},
        {"std": (0.2, 0.0, 0.2)},
        {"std": (0.2, -0.2, 0.2)},
        {"std": (0.2, float("inf"), 0.2)},
        {"mean": (0.5, float("nan"), 0.5)},
    ],
)
def test_preprocessing_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(EdgecvxError, match=r"crop_pct must lie|must be finite"):
        PreprocessSpec(**changes)


@pytest.mark.parametrize(("size", "crop_pct", "resized"), [(224, 0.875, 256), (288, 1.0, 288), (288, 0.95, 303)])
def test_resized_side_is_rounded_down_as_timm_does(size: int, crop_pct: float, resized: int) -> None:
    assert PreprocessSpec(size=size, crop_pct=crop_pct).resized == resized


def test_labels_are_as_many_as_classes() -> None:
    with pytest.raises(UsageError, match="2 labels do not go with a network of 37 classes"):
        dataclasses.replace(MODEL, num_classes=37)
    assert dataclasses.replace(MODEL, num_classes=37, labels=None).num_classes == 37
    with pytest.raises(EdgecvxError, match="-1 classes"):
        dataclasses.replace(MODEL, num_classes=-1, labels=None)


def test_model_name_is_variant_and_tag() -> None:
    assert MODEL.name == "convnextv2_small_for_tests.birds"


@pytest.mark.parametrize(
    ("license", "noncommercial"), [("cc-by-nc-4.0", True), ("apache-2.0", False), ("mit", False), (None, False)]
)
def test_noncommercial_licences_are_known(license: str | None, noncommercial: bool) -> None:
    assert dataclasses.replace(SOURCE, license=license).noncommercial == noncommercial


def test_a_tensor_has_as_many_sides_as_its_layout() -> None:
    with pytest.raises(EdgecvxError, match=r"tensor 'logits': shape \(1, 10\) does not fit layout NHWC"):
        TensorSpec(name="logits", shape=(1, 10), dtype="float32", layout="NHWC")


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_values_stay_what_they_are(value: Any) -> None:
    """Frozen and without a dictionary: a value that was checked cannot change afterwards, and can be a key."""
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, getattr(value, name))
    assert not hasattr(value, "__dict__")
    assert hash(value) == hash(dataclasses.replace(value))


def test_values_take_keywords_only() -> None:
    with pytest.raises(TypeError):
        ArchSpec("name", (1, 1, 1, 1), (8, 8, 8, 8))  # type: ignore[call-arg]
