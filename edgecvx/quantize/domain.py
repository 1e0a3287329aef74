"""Whether calibration pictures look like what the network was trained on, by what the network makes of them.

A classifier that sees another domain answers with little confidence, or always with the same few classes. On the drawn
pictures the demo network answers with 0.90 on average; on noise, text, flat colours or the same pictures without their
colours with 0.11, and half or more of them get one and the same answer.
"""

from __future__ import annotations

import numpy as np

from edgecvx.quantize.observed import Statistics
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


def domain_warning(stats: Statistics, spec: ModelSpec) -> str | None:
    """A sentence for the user if the pictures look foreign to a trained classifier; None if all is well."""
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
