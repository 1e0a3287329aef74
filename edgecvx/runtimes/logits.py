"""A classifier's answers as numbers: logits, and the probabilities that some files return in their place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgecvx.manifest import Manifest
from edgecvx.runtimes.base import Array

FLOOR = 1e-7
"""The smallest probability that is told apart from none: float16, in which files may compute, ends at 6e-8."""


def softmax(logits: Array) -> Array:
    """Probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def as_logits(probabilities: Array) -> Array:
    """Logits that give these probabilities: their logarithms, down to ``FLOOR``."""
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), FLOOR)))


def told_apart(logits: Array) -> Array:
    """What is left of logits where a file returns probabilities: those, up to a number per row, down to ``FLOOR``."""
    return as_logits(softmax(logits.astype(np.float64)))


def logits_of(manifest: Manifest, answers: Mapping[str, Array]) -> Array:
    """A classifier's logits in what its file returned, which may be probabilities."""
    found = answers[manifest.outputs[0].name].astype(np.float64)
    return as_logits(found) if manifest.returns_probabilities else found
