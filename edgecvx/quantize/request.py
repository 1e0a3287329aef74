"""What the user may ask of a quantization, checked before any work is done."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from edgecvx.data.dataset import DEMO
from edgecvx.errors import UsageError, one_of
from edgecvx.quantize.observe.estimators import ESTIMATORS, Estimator
from edgecvx.quantize.plan import Engine
from edgecvx.spec import CALIBRATION_PICTURES, Precision

REFINEMENTS = ("smoothing", "bias-correction")
"""What can be done beyond choosing ranges; ``docs/quantization.md`` says what each is worth."""
USUAL_REFINEMENTS = ("smoothing",)
"""What is done where nothing is said. Correcting biases as well changes nothing that could be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """How the user wants the scales of a static INT8 file to be found."""

    calib: str | Path = DEMO
    samples: int = CALIBRATION_PICTURES
    plan: Path | None = None
    """A plan of an earlier export, used as it is."""
    engine: Engine = "edgecvx"
    estimator: Estimator = "auto"
    refinements: tuple[str, ...] = USUAL_REFINEMENTS

    def __post_init__(self) -> None:
        if self.engine not in get_args(Engine):
            raise one_of("quantizer", self.engine, get_args(Engine))
        if self.estimator not in ESTIMATORS:
            raise one_of("range estimator", self.estimator, ESTIMATORS)
        for name in self.refinements:
            if name not in REFINEMENTS:
                raise one_of("refinement", name, REFINEMENTS)
        if self.samples < 1:
            raise UsageError(f"--calib-samples {self.samples} does not work: at least one picture is needed")

    @property
    def pictures(self) -> str:
        """What is calibrated on, for whoever watches."""
        return f"{self.samples} drawn pictures" if self.calib == DEMO else f"pictures of {Path(self.calib).name}"

    def check_applies_to(self, precision: Precision) -> None:
        """Refuses choices that a file of this precision, or one made with a plan, would not follow.

        Raises:
            UsageError: With what is in vain.
        """
        default = PlanRequest()
        if not precision.calibrated and self != default:
            raise UsageError(
                "--calib, --calib-samples, --plan, --quantizer and --estimator go with --precision int8: "
                f"{precision.value} calibrates nothing"
            )
        if self.engine == "nncf" and (self.estimator, self.refinements) != (default.estimator, default.refinements):
            raise UsageError("--estimator and refinements are edgecvx's own: --quantizer nncf chooses ranges by itself")
        if self.plan is not None and dataclasses.replace(self, plan=None) != default:
            raise UsageError(
                "--plan brings its scales along: leave --calib, --calib-samples, --quantizer and --estimator out"
            )
