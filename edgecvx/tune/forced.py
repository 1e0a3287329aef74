"""How a candidate's decisions become a file: the calibrated plan of its model and size, with each layer's arithmetic set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecvx.quantize.plan import QuantPlan
from edgecvx.tune.space import Candidate, Decision

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecvx.graph.scheme import Scheme

REASON = "chosen by tune"


def forced(plan: QuantPlan, decisions: Sequence[Decision], chosen: Mapping[str, str]) -> QuantPlan:
    """A plan in which the layers of each decision are what was chosen, and all others what they were.

    Raises:
        UsageError: A decision or an option is not one of these, or one is missing.
    """
    raise NotImplementedError


def write_forced(calibrated: Path, decisions: Sequence[Decision], candidate: Candidate, folder: Path) -> Path:
    """The plan file of a candidate, for ``export(plan=...)``; named after its ``file_key``."""
    raise NotImplementedError


def usual(graph: ir.Model, scheme: Scheme, plan: QuantPlan, decisions: Sequence[Decision]) -> dict[str, str]:
    """The options at which the plain INT8 file of a plan is, for each decision."""
    raise NotImplementedError
