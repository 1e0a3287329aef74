"""Stage (b): what each decision does to the logits, on pictures that the race does not use.

Every option of every decision is tried twice: *alone*, with all others float, and *among*, with all others at the
option with most in INT8. What is compared is always the same picture's logits with FP32's. Their mean square
difference, the energy, adds up as long as roundings have nothing to do with each other, and where the two tries do not
agree they have: then it is said, and the program reckons with their middle. One rounding more changes all that come
after it, so what a small effect adds among the others is known less well than what it is alone. And where everything
together drowns the answers, among the others nothing can be told from anything: then each counts as it is alone, and
mixtures are tried as wholes (``tries``).

From an energy to points of top-1: FP32's own logits, which cost one run of the network each, so that there can be more
of them than pictures every option is tried on, are given the differences that rounding everything was seen to make,
stretched or shrunk to that energy. Drawn normal numbers would not do: what a coarse grid does to one picture's logits
it does to the next one's too, and where much is lost logits shrink, which costs more answers than noise as large.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.results.accuracy import Interval
from edgecvx.tune.model.pieces import Options, Pieces, centred, exact, lowest
from edgecvx.tune.space import Decision

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecvx.graph.scheme import Scheme
    from edgecvx.quantize.plan import QuantPlan

Array = NDArray[Any]
Floats = NDArray[np.float64]

MEASURED = 32
"""Pictures every option is tried on, where nothing is said: a mean of so many energies is within a fifth."""
TWICE = 2.0
"""Alone and among the others within such a factor: an energy of twice as much is an error of 1.4 times as much."""
DROWNED = 0.1
"""Of the spread of logits: an energy beyond it, 10 dB, is of answers that are lost, and no sum of effects."""
_DRAWS = 1000
_PARTS = np.geomspace(1e-7, 1e2, 46)
"""Energies at which losses are tried, as parts of the spread of logits."""


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
    """What the program reckons with: between the two, and with those of all others what everything was measured at;
    what it is alone where everything together drowns the answers."""
    adds_up: bool
    """Whether the two agree, within their intervals or a factor of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Of one model and size under one scheme."""

    pictures: tuple[str, ...]
    """By content hash: no later stage may use them."""
    measured: int
    """The first so many of them were run through every option."""
    base: Divergence
    """With every decision float: stem, downsampling and classifier."""
    everything: Divergence
    """With every decision at its lowest."""
    effects: tuple[Effect, ...]
    spread: float
    """The mean square of FP32's logits, each picture's mean taken off."""
    lost: tuple[float, ...]
    """Points of top-1 at energies that are parts of the spread, evenly apart in their logarithms."""

    def energy(self, decisions: Mapping[str, str]) -> float:
        """The predicted energy of a choice; an option without an effect is a ``float``."""
        found = {(e.decision, e.option): e.energy for e in self.effects}
        return self.base.energy + sum(found.get(choice, 0.0) for choice in decisions.items())

    def drop(self, energy: float) -> float:
        """Points of top-1 that a file of this energy is predicted to lose; below 0 where it gains some."""
        part = max(energy, 0.0) / self.spread
        if part < _PARTS[0]:
            return 0.0
        return float(np.interp(math.log(part), np.log(_PARTS), self.lost))

    def allowed(self, drop: float) -> float:
        """The largest energy up to which no more points are predicted to be lost.

        With few pictures one near tie can lose a quarter of a point at energies at which next to nothing happens, and
        give it back later: the curve is made to rise before it is read.
        """
        lost = np.array(self.lost)
        rising = (np.maximum.accumulate(lost) + np.minimum.accumulate(lost[::-1])[::-1]) / 2
        beyond = np.flatnonzero(rising > drop)
        if not beyond.size:
            return math.inf
        if beyond[0] == 0:
            return 0.0
        ends = slice(beyond[0] - 1, beyond[0] + 1)
        return self.spread * math.exp(float(np.interp(drop, rising[ends], np.log(_PARTS[ends]))))


def sensitivity(
    graph: ir.Model,
    plan: QuantPlan,
    scheme: Scheme,
    decisions: Sequence[Decision],
    pictures: Sequence[Array],
    *,
    hashes: Sequence[str],
    labels: Sequence[int] | None = None,
    measured: int = MEASURED,
    threads: int = 1,
    seed: int = 0,
    on_part: Callable[[float], None] = lambda part: None,
) -> Sensitivity:
    """Measures every option of every decision, alone and among all others.

    Args:
        graph: The canonical graph, for one picture at a time.
        plan: Its calibrated plan.
        scheme: Of the target.
        decisions: Of ``space``.
        pictures: As the graph takes them, without the batch axis.
        hashes: Of the pictures, by content.
        labels: Their classes, where they are known.
        measured: How many of them every option is tried on; of the others FP32's logits alone are used.
        threads: That may be used.
        seed: Of the intervals.
        on_part: Called with how much is done, 0 to 1.

    Raises:
        UsageError: There is no picture, or pictures, hashes and labels are not equally many.
    """
    if not pictures or len(pictures) != len(hashes) or (labels is not None and len(labels) != len(pictures)):
        raise UsageError(f"{len(pictures)} pictures do not go with {len(hashes)} hashes: each has one, and a label")
    pieces = Pieces(graph, plan, scheme, tuple(decisions), threads)
    tried = min(measured, len(pictures))
    answers, rows, changes = list[Array](), list[dict[_Try, float]](), list[Array]()
    for number, picture in enumerate(pictures):
        on_part(number / len(pictures))
        answers.append(pieces.exact(picture[None])[0])
        if number < tried:
            row, change = _energies(pieces, picture[None], answers[-1])
            rows.append(row)
            changes.append(change)
    energies = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    logits = np.stack(answers)
    spread = float(np.square(centred(logits)).mean())
    bounds = functools.partial(_divergence, draws=np.random.default_rng(seed).integers(0, tried, (_DRAWS, tried)))
    return Sensitivity(
        pictures=tuple(hashes),
        measured=tried,
        base=bounds(energies[_BASE]),
        everything=bounds(energies[_ALL]),
        effects=_effects(energies, decisions, bounds, spread),
        spread=spread,
        lost=lost_points(logits, np.stack(changes), labels, spread),
    )


def lost_points(
    logits: Array, changes: Array, labels: Sequence[int] | None, spread: float, parts: Floats = _PARTS
) -> tuple[float, ...]:
    """Points of top-1 that are lost when logits change so, made as large as some energies.

    Args:
        logits: FP32's, a row per picture.
        changes: What was seen to be added to the first pictures' logits. As far as it takes their own logits back, it
            is taken to do so to every picture's; the rest of each is tried on all.
        labels: Their classes; without them every answer that changes counts as lost.
        spread: The energy of the logits themselves.
        parts: The energies, as parts of that.
    """
    changes, own = centred(changes), centred(logits)
    energy = float(np.square(changes).mean())
    seen = own[: len(changes)]
    taken = max(0.0, -float((changes * seen).sum()) / max(float(np.square(seen).sum()), 1e-300))
    rest = changes + taken * seen
    first = logits.argmax(axis=1)
    right = first if labels is None else np.asarray(labels)
    if not energy:
        return (0.0,) * len(parts)
    lost = []
    for part in parts:
        stretch = math.sqrt(part * spread / energy)
        left = own * max(0.0, 1.0 - stretch * taken)
        still = np.mean([((left + stretch * change).argmax(axis=1) == right).mean() for change in rest])
        lost.append(100.0 * float((first == right).mean() - still))
    return tuple(lost)


_Try = tuple[str, str, str]
"""Among which others (``alone``, ``among``), the decision, the option."""
_BASE: _Try = ("alone", "", "")
_ALL: _Try = ("among", "", "")


def _energies(pieces: Pieces, picture: Array, answer: Array) -> tuple[dict[_Try, float], Array]:
    """The energy of each try on one picture, and what rounding everything adds to its logits."""
    blocks, found, change = pieces.blocks, dict[_Try, float](), np.zeros_like(answer)
    for others, options in (("alone", exact(blocks)), ("among", lowest(blocks))):
        before = [picture]
        for piece, chosen in enumerate(options):
            before.append(pieces.run(piece, chosen, before[-1]))
        ended = pieces.run(len(blocks), (), before[-1])
        found[others, "", ""] = _energy(ended, answer)
        change = ended[0] - answer  # in the end that of everything at its lowest
        for piece, block in enumerate(blocks):
            for place, decision in enumerate(block):
                for option in decision.names:
                    if option != options[piece][place]:
                        changed = (*options[piece][:place], option, *options[piece][place + 1 :])
                        x = pieces.run(piece, changed, before[piece])
                        found[others, decision.name, option] = _energy(_rest(pieces, options, piece, x), answer)
    return found, change


def _rest(pieces: Pieces, options: Sequence[Options], piece: int, x: Array) -> Array:
    """The answers, from what a piece returned."""
    for later in range(piece + 1, len(options)):
        x = pieces.run(later, options[later], x)
    return pieces.run(len(options), (), x)


def _energy(logits: Array, answer: Array) -> float:
    energy = float(np.square(centred(logits - answer)).mean())
    if not math.isfinite(energy):
        raise EdgecvxError("the quantized graph returned no finite logits")
    return energy


def _effects(
    energies: Mapping[_Try, Floats],
    decisions: Sequence[Decision],
    bounds: Callable[[Floats], Divergence],
    spread: float,
) -> tuple[Effect, ...]:
    """From the energies of each try on each picture, the pictures paired."""
    found: list[tuple[str, str, Divergence, Divergence]] = []
    for decision in decisions:
        without = energies["among", decision.name, decision.exact]
        for option in decision.names[:-1]:
            alone = energies["alone", decision.name, option] - energies[_BASE]
            whole = energies[_ALL] if option == decision.lowest else energies["among", decision.name, option]
            found.append((decision.name, option, bounds(alone), bounds(whole - without)))
    drowned = float(energies[_ALL].mean()) > DROWNED * spread
    middle = {
        (name, option): max(0.0, alone.energy if drowned else _middle(alone, among))
        for name, option, alone, among in found
    }
    together = sum(middle[d.name, d.lowest] for d in decisions)
    wanted = float((energies[_ALL] - energies[_BASE]).mean())
    factor = wanted / together if together > 0 and wanted > 0 and not drowned else 1.0
    return tuple(
        Effect(
            decision=name,
            option=option,
            alone=alone,
            among=among,
            energy=factor * middle[name, option],
            adds_up=_agree(alone, among),
        )
        for name, option, alone, among in found
    )


def _middle(first: Divergence, second: Divergence) -> float:
    """Of two tries that agree the better known counts more; among the others a small effect drowns in theirs."""
    if first.interval is None or second.interval is None or not _agree(first, second):
        return (first.energy + second.energy) / 2
    widths = [max(d.interval.high - d.interval.low, 1e-300) for d in (first, second) if d.interval is not None]
    weights = np.array([1.0 / width**2 for width in widths]) / (1.0 / min(widths) ** 2)
    return float(weights @ [first.energy, second.energy] / weights.sum())


def _agree(first: Divergence, second: Divergence) -> bool:
    if first.interval is not None and second.interval is not None:
        apart = first.interval.low > second.interval.high or second.interval.low > first.interval.high
        if not apart:
            return True
    low, high = sorted((first.energy, second.energy))
    return low > 0 and high <= TWICE * low


def _divergence(energies: Floats, *, draws: NDArray[np.int64]) -> Divergence:
    """The mean, and what 95% of the means of as many pictures drawn from these are within."""
    if len(energies) < 2:
        return Divergence(energy=float(energies.mean()), interval=None)
    low, high = np.quantile(energies[draws].mean(axis=1), (0.025, 0.975))
    return Divergence(energy=float(energies.mean()), interval=Interval(low=float(low), high=float(high)))
