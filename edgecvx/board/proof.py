"""Where a file was proved, and whether it computes the same here.

A file is compared with its reference once, on one processor. On another class of processors its runtime takes other
kernels, whose rounding differs a little; should they compute something else altogether, that must be an error and not
a wrong answer. So the proof holds what the file itself made of the probe pictures, as a sample, and wherever the file
meets another class of processors, or another runtime, it is given the same pictures first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecvx.board.device.processors import Processor

SAMPLES = 32
"""The most values that are kept of one output for one picture."""
_ALL_DIGITS = 20
"""Behind the point; for an output that is the same everywhere, whose range says nothing."""


@dataclass(frozen=True)
class Expected:
    """One output for the probe pictures."""

    name: str
    low: float
    high: float
    """The smallest and largest value of the whole output, over all pictures."""
    noise: float
    """How far it was from the reference: the root mean square of the differences, as a part of the range."""
    values: tuple[tuple[float, ...], ...]
    """A few values of each picture, see ``sample``."""


@dataclass(frozen=True)
class Proof:
    """Where a file was proved, and what it computed there."""

    processor: Processor
    engine: str
    """What ran it: a runtime's name, or of what stands in for one."""
    outputs: tuple[Expected, ...]

    def holds(self, kind: str | None, engine: str, options: Mapping[str, str]) -> bool:
        """Whether nothing has to be asked: the class of processors is the one it was proved on, and all the rest."""
        return kind is not None and kind == self.processor.kind and engine == self.engine and not options

    def here(self, kind: str | None, engine: str, options: Mapping[str, str]) -> str:
        """Another place than that of the proof, in words; the runtime where it matters."""
        return place(kind, engine if engine != self.engine or options else "", options)

    def there(self, engine: str, options: Mapping[str, str]) -> str:
        """The place of the proof, in words, told against what is used elsewhere."""
        return place(self.processor.kind, self.engine if engine != self.engine or options else "", {})


def sample(output: Any) -> Any:
    """A row of at most ``SAMPLES`` values for each picture, evenly spaced over the output as the file returns it."""
    import numpy as np

    rows = np.asarray(output, dtype=np.float64).reshape(len(output), -1)
    size = rows.shape[1]
    return rows[:, np.linspace(0, size - 1, min(size, SAMPLES)).round().astype(int)]


def expected(name: str, output: Any, reference: Any) -> Expected:
    """What is kept of an output.

    Args:
        name: The output's.
        output: What the file computed for every probe picture.
        reference: What it was compared with, in the same layout.
    """
    low, high = float(output.min()), float(output.max())
    # To a millionth of the range, or more finely: a hundredth of any limit.
    digits = 6 - math.floor(math.log10(high - low)) if high > low else _ALL_DIGITS
    rows = sample(output)
    noise = error(sample(reference), rows, high - low)
    return Expected(
        name=name,
        low=round(low, digits),
        high=round(high, digits),
        noise=float(f"{noise:.2g}"),
        values=tuple(tuple(round(value, digits) for value in row) for row in rows.tolist()),
    )


def difference(proof: Proof, answers: Mapping[str, Any]) -> tuple[str, float]:
    """The output that is furthest from what it was where the file was proved, and how far that is.

    Args:
        proof: What was computed there.
        answers: What the file computed here for the same pictures, by the outputs' names.

    Returns:
        The output's name and the root mean square of the differences, as a part of its range; infinite where it is
        missing, of another shape or holds anything but finite numbers.
    """
    import numpy as np

    found = []
    for output in proof.outputs:
        there = np.array(output.values)
        here = sample(answers[output.name]) if output.name in answers else np.array([])
        found.append((error(here, there, output.high - output.low), output.name))
    worst, name = max(found)
    return name, worst


def error(actual: Any, wanted: Any, spread: float) -> float:
    """The root mean square of the differences of two samples, as a part of ``spread``."""
    import numpy as np

    if actual.shape != wanted.shape or not np.isfinite(actual).all():
        return math.inf
    rms = float(np.sqrt(np.mean((actual - wanted) ** 2)))
    return rms / spread if spread > 0 else 0.0 if rms == 0 else math.inf


def place(kind: str | None, engine: str, options: Mapping[str, str]) -> str:
    """Where something is computed, in words: ``AVX2``, ``AVX2 in onnxruntime with provider=…``."""
    words = [kind or "unknown class", *([f"in {engine}"] if engine else [])]
    return " ".join([*words, *(f"with {key}={value}" for key, value in options.items())])


def refusal(name: str, here: str, there: str, output: str, off: float, limit: float) -> str:
    """The sentence that ends a file which computes something else here; what to do is the caller's to add."""
    how = f"is off by {off:.2g} of its range, allowed is {limit:.2g}"
    if math.isinf(off):
        how = "is missing, of another shape, or holds numbers that are not finite"
    return (
        f"{name} computes something else on this processor ({here}) than where it was proved ({there}): "
        f"output {output!r} {how}"
    )
