"""What a user may ask of a quantization, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from edgecvx.cli import export
from edgecvx.errors import UsageError
from edgecvx.quantize.observe.estimators import ESTIMATORS
from edgecvx.quantize.plan import Engine
from edgecvx.quantize.request import PlanRequest
from edgecvx.spec import Precision


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown range estimator 'mes': did you mean mse"):
        PlanRequest(estimator="mes")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown quantizer 'ncf': did you mean nncf"):
        PlanRequest(engine="ncf")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown refinement"):
        PlanRequest(refinements=("smooth",))
    with pytest.raises(UsageError, match="--calib-samples 0"):
        PlanRequest(samples=0)
    PlanRequest(estimator="mse").check_applies_to(Precision.INT8)
    with pytest.raises(UsageError, match="--estimator and refinements are edgecvx's own"):
        PlanRequest(engine="nncf", estimator="mse").check_applies_to(Precision.INT8)


def test_the_command_line_offers_every_choice() -> None:
    assert {choice.value for choice in export.Quantizer} == set(get_args(Engine))
    assert {choice.value for choice in export.RangeEstimator} == set(ESTIMATORS)


def test_a_folder_may_be_called_demo() -> None:
    assert PlanRequest(samples=5).pictures == "5 drawn pictures"
    assert PlanRequest(calib=Path("demo")).pictures == "pictures of demo"
