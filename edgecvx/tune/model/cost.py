r"""Stage (c): milliseconds per decision, fitted from whole files that were timed in turns.

No profile of single layers is looked at: in every runtime a layer's time depends on what it is fused with. A file's
time is taken as a sum instead, and its terms come from the differences of whole files:

- a *base*, with everything float;
- per stage, part and option, so much for each block that has it: the blocks of a stage have the same shapes;
- per stage, so much for each block whose parts are not of one kind, float or integers: a *border* that numbers have to
  be taken across;
- per decision, how far it is from its stage's. The first of a stage has another input than the others: small, unless
  the measurements say otherwise, which is how what was measured in the race mends the model for all files alike.

``design`` chooses which files: as few as tell the first three kinds of terms apart (a dozen or two of millions), and
some mixed block by block. The fit is a Gaussian linear model. How much decisions differ from their stages, and how far
files are from any such sum, is found from the likelihood of what was measured, never taken to be less than the turns
themselves spread; intervals are Student's with as many degrees of freedom as files are left over. So a noisy machine
makes them wide, and a sum that does not hold does as well.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import EdgecvxError, missing_package
from edgecvx.results.accuracy import Interval
from edgecvx.results.intervals import Z95
from edgecvx.results.statistics import hodges_lehmann
from edgecvx.tune.space import Decision

Floats = NDArray[np.float64]

BASE = "base"
_WIDE = 1.0
"""Of the reference's time: what a whole stage may gain or lose before anything was measured, one standard deviation."""
_DEVIATIONS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Of the reference's time over the number of blocks: what a decision may differ from its stage's."""
_EXCESSES = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0)
"""How many times as far as the turns spread files may be from a sum."""
_TOGETHER = 6
"""Files from which a round's level is told better than from the reference alone."""
_LEAST_NOISE = 0.002
"""Of the reference's time: two builds of one file differ by as much, by where their pages lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One whole file, timed in turns with the reference file."""

    decisions: Mapping[str, str]
    ratios: tuple[float, ...]
    """Per round: its median over the reference's in the same round; 1 for the reference itself."""
    rounds: tuple[int, ...] = ()
    """Which rounds those were, so that files that shared them are known; empty where nobody knows."""

    def __post_init__(self) -> None:
        if not self.ratios or any(not 0 < ratio < math.inf for ratio in self.ratios):
            raise EdgecvxError(f"a file that was timed in turns has positive ratios, got {self.ratios[:3]}")
        if self.rounds and len(self.rounds) != len(self.ratios):
            raise EdgecvxError(f"{len(self.ratios)} ratios are not of {len(self.rounds)} rounds")

    @property
    def ratio(self) -> float:
        """Over all rounds."""
        return math.exp(_middle(np.log(self.ratios))[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One coefficient: what a file gains or loses each time it has this."""

    name: str
    """``stage 2: mlp int8``, over float; ``stage 2: border``; ``stages.2.blocks.3.mlp int8``, over its stage's."""
    ms: float
    interval: Interval | None
    """95%; None where nothing was left over to tell from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """A file's time as the model has it."""

    ms: float
    interval: Interval | None
    """95%, of a file that was not measured: it has the model's own failing in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Milliseconds as a sum of terms."""

    decisions: tuple[Decision, ...]
    reference: Mapping[str, str]
    """The decisions of the file all ratios are taken to."""
    reference_ms: float
    """Its median."""
    observations: tuple[Observation, ...]
    names: tuple[str, ...]
    """Of the terms."""
    values: tuple[float, ...]
    """Milliseconds each."""
    covariance: tuple[tuple[float, ...], ...]
    noise: float
    """Milliseconds, one standard deviation: how far a file is from the sum."""
    student: float | None
    """How many standard deviations are 95%; None where no file is left over."""

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms, each with its interval."""
        deviations = [math.sqrt(max(0.0, row[i])) for i, row in enumerate(self.covariance)]
        return tuple(
            Term(name=name, ms=value, interval=self._interval(value, deviation))
            for name, value, deviation in zip(self.names, self.values, deviations, strict=True)
        )

    def predict(self, decisions: Mapping[str, str]) -> Predicted:
        """The time of any file of this model, size, target and number of threads."""
        row = _row(self.decisions, decisions, self.names)
        variance = float(row @ np.array(self.covariance) @ row) + self.noise**2
        ms = float(row @ np.array(self.values))
        return Predicted(ms=ms, interval=self._interval(ms, math.sqrt(variance)))

    def parts(self, decisions: Mapping[str, str]) -> dict[str, float]:
        """Where a file's milliseconds come from: the base, and each term it has."""
        row = _row(self.decisions, decisions, self.names)
        found = {n: float(x * v) for n, x, v in zip(self.names, row, self.values, strict=True)}
        return {name: ms for name, ms in found.items() if ms != 0.0}

    @property
    def base(self) -> float:
        """What a file takes whose every decision is ``float``."""
        return dict(zip(self.names, self.values, strict=True))[BASE]

    def unary(self, decision: Decision, option: str) -> float:
        """What an option of a decision costs over ``float``, without its borders."""
        known = dict(zip(self.names, self.values, strict=True))
        return known.get(_common(decision, option), 0.0) + known.get(_own(decision, option), 0.0)

    def border(self, here: Decision, option: str, there: Decision, other: str) -> float:
        """What it costs that options of two neighbouring decisions meet."""
        if not _is_border(here, option, there, other):
            return 0.0
        return dict(zip(self.names, self.values, strict=True)).get(_border(here), 0.0)

    def _interval(self, ms: float, deviation: float) -> Interval | None:
        if self.student is None:
            return None
        return Interval(low=ms - self.student * deviation, high=ms + self.student * deviation)


def design(
    decisions: Sequence[Decision], reference: Mapping[str, str] | None = None, *, spare: int = 4, seed: int = 0
) -> tuple[Mapping[str, str], ...]:
    """The whole files to export and time: as few as tell all common terms apart, and some to see how well that holds.

    Args:
        decisions: Of the model for the target.
        reference: The file the others are compared with, the first of the design; everything at its lowest by default.
        spare: Files mixed block by block, beyond those.
        seed: Of the mixtures.
    """
    draw = np.random.default_rng(seed)
    lowest = {d.name: d.lowest for d in decisions}
    chosen = [dict(lowest if reference is None else reference), lowest, {d.name: d.exact for d in decisions}]
    chosen = [c for i, c in enumerate(chosen) if c not in chosen[:i]]
    names = _common_names(decisions)
    pool = [_by_stage(decisions, draw) for _ in range(40 * len(names))]
    rows = np.array([_row(decisions, c, names) for c in pool]).reshape(len(pool), len(names))
    depth = np.maximum(np.abs(rows).max(axis=0, initial=0.0), 1.0)
    rows /= depth
    known = 1e-6 * np.eye(len(names))
    for c in chosen:
        known += np.outer(row := _row(decisions, c, names) / depth, row)
    while len(chosen) < len(names):
        # The file whose prediction is least certain so far: greedy, and within a few percent of the best set.
        gains = np.einsum("ij,jk,ik->i", rows, np.linalg.inv(known), rows)
        best = int(gains.argmax())
        if gains[best] < 1e3 and _rank(known) == len(names):
            break
        chosen.append(pool[best])
        known += np.outer(rows[best], rows[best])
    for _ in range(spare):
        mixed = {d.name: str(draw.choice(d.names)) for d in decisions}
        if mixed not in chosen:
            chosen.append(mixed)
    return tuple(chosen)


def fit(
    decisions: Sequence[Decision],
    reference: Mapping[str, str],
    reference_ms: float,
    observations: Sequence[Observation],
) -> CostModel:
    """The model of what was timed; called again with more of it, a mended one.

    Args:
        decisions: Of the model for the target.
        reference: The decisions of the file all ratios are taken to.
        reference_ms: The median of the reference file.
        observations: The files, the reference among them.

    Raises:
        EdgecvxError: There is nothing to fit, or scipy is not installed.
    """
    if not observations:
        raise EdgecvxError("a cost model needs at least one file that was timed")
    common = _common_names(decisions)
    names = (*common, *(_own(d, option) for d in decisions for option in d.names[:-1]))
    x = np.array([_row(decisions, o.decisions, names) for o in observations])
    ratios, errors = _levelled(observations, dict(reference))
    y, turns = reference_ms * ratios, reference_ms * max(_LEAST_NOISE, math.sqrt(float(np.square(errors).mean())))
    blocks = max(1, len({(d.stage, d.block) for d in decisions}))
    fits = [
        _posterior(x, y, _prior(decisions, names, common, reference_ms, share * reference_ms / blocks), excess * turns)
        for share, excess in itertools.product(_DEVIATIONS, _EXCESSES)
    ]
    best = max(fits, key=lambda f: f.likelihood)
    return CostModel(
        decisions=tuple(decisions),
        reference=dict(reference),
        reference_ms=reference_ms,
        observations=tuple(observations),
        names=names,
        values=tuple(map(float, best.mean)),
        covariance=tuple(tuple(map(float, row)) for row in best.covariance),
        noise=best.noise,
        student=_student(len(observations) - _rank(x[:, : len(common)])),
    )


def _levelled(observations: Sequence[Observation], reference: Mapping[str, str]) -> tuple[Floats, Floats]:
    """The ratio of each file to the reference, and its standard error, both as parts.

    A bad moment of the reference is in every ratio of its round. So where files went through the same rounds, a round's
    level is taken from all of them, and the reference is one file among the others.
    """
    middles = np.array([_middle(np.log(o.ratios)) for o in observations])
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, o in enumerate(observations):
        if o.rounds and dict(o.decisions) != reference:
            groups.setdefault(o.rounds, []).append(index)
    for group in groups.values():
        if len(group) >= _TOGETHER:
            logs = np.log([observations[i].ratios for i in group])
            levels = np.median(np.vstack([logs, np.zeros(logs.shape[1])]), axis=0)
            middles[group] = [_middle(row - levels) for row in logs]
            middles[group, 0] -= _middle(-levels)[0]
    ratios = np.exp(middles[:, 0])
    return ratios, ratios * middles[:, 1]


def _middle(logs: Floats) -> tuple[float, float]:
    """The middle of some logarithms of ratios, and its standard error."""
    found = hodges_lehmann(logs)
    if found is None:
        return float(np.median(logs)), float(np.ptp(logs)) / 2
    middle, low, high = found
    return middle, (high - low) / (2 * Z95)


@dataclass(frozen=True, slots=True)
class _Posterior:
    mean: Floats
    covariance: Floats
    noise: float
    likelihood: float


def _posterior(x: Floats, y: Floats, prior: Floats, noise: float) -> _Posterior:
    """The terms after what was measured, given the variance of each before and the noise of a file."""
    spread = (x * prior) @ x.T + noise**2 * np.eye(len(y))
    gain = np.linalg.solve(spread, x * prior).T
    _, logarithm = np.linalg.slogdet(spread)
    return _Posterior(
        mean=gain @ y,
        covariance=np.diag(prior) - gain @ (x * prior),
        noise=noise,
        likelihood=-0.5 * (float(logarithm) + float(y @ np.linalg.solve(spread, y))),
    )


def _prior(
    decisions: Sequence[Decision], names: Sequence[str], common: Sequence[str], reference_ms: float, own: float
) -> Floats:
    """Variances: wide for what files tell apart, narrow for how far a decision is from its stage's."""
    depths: dict[str, int] = {}
    for d in decisions:
        for name in (*(_common(d, option) for option in d.names[:-1]), _border(d)):
            depths[name] = depths.get(name, 0) + 1
    wide = [10 * reference_ms if name == BASE else _WIDE * reference_ms / depths[name] for name in common]
    return np.square([*wide, *[own] * (len(names) - len(common))])


def _by_stage(decisions: Sequence[Decision], draw: np.random.Generator) -> dict[str, str]:
    """The same option for all blocks of a stage, drawn."""
    drawn: dict[tuple[int, str], str] = {}
    for d in decisions:
        drawn.setdefault((d.stage, d.part), str(draw.choice(d.names)))
    return {d.name: drawn[d.stage, d.part] for d in decisions}


def _common_names(decisions: Sequence[Decision]) -> tuple[str, ...]:
    """The base, each stage's options, and its borders where blocks have two decisions."""
    options = [_common(d, option) for d in decisions for option in d.names[:-1]]
    borders = [_border(here) for here, there in itertools.pairwise(decisions) if _beside(here, there)]
    return tuple(dict.fromkeys((BASE, *options, *borders)))


def _row(decisions: Sequence[Decision], chosen: Mapping[str, str], names: Sequence[str]) -> Floats:
    """How often a file has each term."""
    counts = {BASE: 1.0}
    for d in decisions:
        for name in (_common(d, chosen[d.name]), _own(d, chosen[d.name])):
            counts[name] = counts.get(name, 0.0) + 1.0
    for here, there in itertools.pairwise(decisions):
        if _is_border(here, chosen[here.name], there, chosen[there.name]):
            counts[_border(here)] = counts.get(_border(here), 0.0) + 1.0
    return np.array([counts.get(name, 0.0) for name in names])


def _common(decision: Decision, option: str) -> str:
    return f"stage {decision.stage}: {decision.part} {option}"


def _own(decision: Decision, option: str) -> str:
    return f"{decision.name} {option}"


def _border(decision: Decision) -> str:
    return f"stage {decision.stage}: border"


def _beside(here: Decision, there: Decision) -> bool:
    """Whether two decisions are of one block: between blocks numbers are floats in any case."""
    return (here.stage, here.block) == (there.stage, there.block)


def _is_border(here: Decision, option: str, there: Decision, other: str) -> bool:
    return _beside(here, there) and (option == here.exact) != (other == there.exact)


def _rank(x: Floats) -> int:
    return int(np.linalg.matrix_rank(x))


def _student(freedom: int) -> float | None:
    """How many standard deviations 95% are."""
    if freedom < 1:
        return None
    try:
        from scipy.stats import t
    except ModuleNotFoundError as error:
        raise missing_package("scipy, which knows Student's distribution,", "tune") from error
    return float(t.ppf(0.975, freedom))
