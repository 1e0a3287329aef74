"""Whether a calibration can be trusted: its pictures are of the network's kind, and others would have given the same.

A classifier that sees another domain answers with little confidence, or always with the same few classes. On the drawn
pictures the demo network answers with 0.90 on average; on noise, text, flat colours or the same pictures without their
colours with 0.11, and half or more of them get one and the same answer.
"""

from __future__ import annotations

import numpy as np

from edgecvx.quantize.observe.observed import HalfStatistics, Statistics
from edgecvx.quantize.plan import Agreement
from edgecvx.runtimes.artifact import softmax
from edgecvx.spec import ModelSpec

UNSURE = 0.35
"""Mean probability of the first answer, below which the pictures are of another domain, or very hard."""
ONE_ANSWER = 0.5
"""Share of the most frequent answer, above which the pictures show hardly more than one class to the network."""
ENOUGH = 8
"""Pictures from which on either means something."""
CLASSES = 4
"""Below, one frequent answer is nothing unusual."""
DISAGREE = 2.0
"""Ratio of two halves' ranges from which on a user is warned: one of the eight bits depends on who was in the set."""


def domain_warning(stats: Statistics, spec: ModelSpec) -> str | None:
    """A sentence for the user if a trained classifier learned from other pictures than these; None if all is well."""
    if "logits" not in stats.points or spec.weights.kind == "random" or spec.num_classes < CLASSES:
        return None
    logits = stats["logits"].rows.astype(np.float64)  # a row per picture, of many pictures a sample
    if len(logits) < ENOUGH:
        return None
    confidence = float(softmax(logits).max(axis=1).mean())
    counts = np.bincount(logits.argmax(axis=1), minlength=spec.num_classes)
    share = float(counts.max() / len(logits))
    found = []
    if confidence < UNSURE:
        found.append(f"is unsure of them (its first answer has {confidence:.2f} on average)")
    if share > ONE_ANSWER:
        name = spec.labels[int(counts.argmax())] if spec.labels else f"class {int(counts.argmax())}"
        found.append(f"answers {name!r} to {share:.0%} of them")
    if not found:
        return None
    return (
        f"the calibration pictures look unlike what {spec.name} was trained on: it {' and '.join(found)}. Scales of "
        "another domain cost accuracy: calibrate on pictures like those it will see"
    )


def stability(stats: Statistics) -> Agreement | None:
    """How well the two halves of the calibration pictures agree on the ranges; None for a single picture."""
    ratios = {
        name: ratio(_width(point.halves[0]), _width(point.halves[1]))
        for name, point in stats.points.items()
        if len(point.halves) == 2
    }
    if not ratios:
        return None
    tensor = max(ratios, key=lambda name: ratios[name])
    return Agreement(worst=ratios[tensor], tensor=tensor, median=float(np.median(list(ratios.values()))))


def stability_warning(agreement: Agreement | None) -> str | None:
    """The sentence for a user, if there is something to tell."""
    if agreement is None or agreement.worst < DISAGREE:
        return None
    return (
        f"two halves of the calibration pictures disagree: at {agreement.tensor!r} one gives a range "
        f"{agreement.worst:.1f} times the other's (half of all tensors differ by at least {agreement.median:.2f}); "
        "take more pictures, or more varied ones"
    )


def ratio(a: float, b: float) -> float:
    """How many times the smaller the larger is; tensors that are zero in both halves agree."""
    if a == b:
        return 1.0
    return max(a, b) / max(min(a, b), 1e-3 * max(a, b))  # a half without a single value counts as a thousandth


def _width(half: HalfStatistics) -> float:
    """Of the grid that half would ask for."""
    return float(max(half.high.max(), 0.0) - min(half.low.min(), 0.0))
