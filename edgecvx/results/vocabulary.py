"""What accuracy, latency and the words for both speak in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VerdictKind = Literal["pass", "fail", "undecided", "none", "error"]
"""``none``: there was nothing to judge, as without labels. ``error``: the artifact could not be run to the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95% confidence interval."""

    low: float
    high: float
