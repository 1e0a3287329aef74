"""Stage (b): what each decision does to the logits, on pictures that the race does not use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgecvx.results.accuracy import Interval
from edgecvx.tune.space import Decision

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecvx.graph.scheme import Scheme
    from edgecvx.quantize.plan import QuantPlan

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The mean square of what logits differ by from FP32's on the same pictures, each picture's mean taken off."""

    energy: float
    interval: Interval | None
    """95%, from the pictures; None with one alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one option of one decision costs, over its ``float``."""

    decision: str
    option: str
    alone: Divergence
    """With every other decision float."""
    among: Divergence
    """With every other decision at its lowest: all of it less all but this one."""
    energy: float
    """What the program reckons with: between the two."""
    adds_up: bool
    """Whether the two agree, within their intervals and a factor of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Of one model and size under one scheme."""

    pictures: tuple[str, ...]
    """By content hash: no later stage may use them."""
    base: Divergence
    """With every decision float: stem, downsampling and classifier."""
    everything: Divergence
    """With every decision at its lowest."""
    effects: tuple[Effect, ...]
    margins: tuple[float, ...]
    """Per picture: the first FP32 logit over the second."""
    right: tuple[bool, ...] = ()
    """Per picture: whether the first is the label; empty without labels."""

    def energy(self, decisions: Mapping[str, str]) -> float:
        """The predicted energy of a choice."""
        raise NotImplementedError

    def drop(self, energy: float) -> float:
        """Points of top-1 that a file of this energy is predicted to lose."""
        raise NotImplementedError

    def allowed(self, drop: float) -> float:
        """The energy at which so many points are lost."""
        raise NotImplementedError


def sensitivity(
    graph: ir.Model,
    plan: QuantPlan,
    scheme: Scheme,
    decisions: Sequence[Decision],
    pictures: Sequence[Array],
    *,
    hashes: Sequence[str],
    labels: Sequence[int] | None = None,
    on_part: Callable[[float], None] = lambda part: None,
) -> Sensitivity:
    """Measures every option of every decision, alone and among all others.

    Args:
        graph: The canonical graph.
        plan: Its calibrated plan.
        scheme: Of the target.
        decisions: Of ``space``.
        pictures: As the graph takes them, without the batch axis.
        hashes: Of the pictures, by content.
        labels: Their classes, where they are known.
        on_part: Called with how much is done, 0 to 1.
    """
    raise NotImplementedError
