"""Pictures of another domain are told, those of the network's own are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibrated import point_of

from edgecvx.quantize.observe.observed import Statistics
from edgecvx.quantize.trust import domain_warning
from edgecvx.spec import ArchSpec, ModelSpec, PreprocessSpec, WeightsSource

SPEC = ModelSpec(
    arch=ArchSpec(name="small", depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)),
    tag="tag",
    num_classes=10,
    labels=tuple("abcdefghij"),
    preprocess=PreprocessSpec(size=64),
    weights=WeightsSource(kind="file", ref="x", layout="timm", sha256="a" * 64),
)


def answered(logits: np.ndarray) -> Statistics:
    """Statistics of a network that returned these logits."""
    return Statistics(pictures=len(logits), points={"logits": point_of(logits.astype(np.float32), halves=1)})


def logits_of(answers: list[int], margin: float) -> np.ndarray:
    return margin * np.eye(10)[answers]


SURE = logits_of(list(range(10)) * 3, 6.0)


def test_sure_and_varied_answers_are_fine() -> None:
    assert domain_warning(answered(SURE), SPEC) is None


def test_a_network_that_is_unsure_is_told() -> None:
    assert "is unsure of them (its first answer has 0.23" in str(
        domain_warning(answered(logits_of([*range(10)], 1.0)), SPEC)
    )


def test_a_network_that_always_answers_the_same_is_told_by_name() -> None:
    told = domain_warning(answered(logits_of([3] * 9 + [4], 6.0)), SPEC)
    assert told is not None and "answers 'd' to 90% of them" in told and "unsure" not in told


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, weights=replace(SPEC.weights, kind="random")),  # nothing was learned, there is no domain
        replace(SPEC, num_classes=2, labels=("a", "b")),
    ],
)
def test_nothing_is_said_where_nothing_can_be(spec: ModelSpec) -> None:
    assert domain_warning(answered(logits_of([3] * 10, 0.1)), spec) is None
    assert domain_warning(answered(logits_of([3] * 4, 0.1)), SPEC) is None
    assert domain_warning(Statistics(pictures=1, points={}), SPEC) is None
