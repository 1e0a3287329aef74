"""From what was measured of a network's decisions to the chain of the program, and from its solution to a candidate."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgecvx.tune.bounds import Layer, option_bytes
from edgecvx.tune.chain import Chain, Costs, Position, Solution
from edgecvx.tune.cost import CostModel
from edgecvx.tune.space import Candidate, Decision

if TYPE_CHECKING:
    from edgecvx.tune.sensitivity import Sensitivity

MS, LOSS, BYTES = "ms", "loss", "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of one model and size for one target and number of threads."""

    candidate: Candidate
    """Without decisions: the plain INT8 file."""
    decisions: tuple[Decision, ...]
    cost: CostModel
    sensitivity: Sensitivity
    layers: Mapping[str, Layer]
    """By name."""
    kind: str
    """Of the target's format."""
    bytes: float
    """Of some file with decisions, all its parts."""
    bytes_with: Mapping[str, str]
    """The decisions of that file."""


def chain_of(measured: Measured, *, max_p50: float | None = None, max_mb: float | None = None) -> Chain:
    """The chain of a network: what each option costs in milliseconds, energy and bytes.

    Limits that hold for all files are put on it; how much energy it may have is the caller's to say
    (``Chain.limited``), who knows which points of top-1 that is.
    """
    sizes = {
        d.name: {o: option_bytes(measured.layers, d, o, measured.kind) for o in d.names} for d in measured.decisions
    }
    there = sum(sizes[name][option] for name, option in measured.bytes_with.items())
    limits = {MS: max_p50, BYTES: None if max_mb is None else max_mb * 1e6}
    return Chain(
        name=measured.candidate.key,
        positions=tuple(_position(measured, d, sizes[d.name]) for d in measured.decisions),
        base={
            MS: measured.cost.values[0],
            LOSS: measured.sensitivity.base.energy,
            BYTES: measured.bytes - there,
        },
        neighbours=tuple(_border(measured.cost, a, b) for a, b in itertools.pairwise(measured.decisions)),
        limits={quantity: limit for quantity, limit in limits.items() if limit is not None},
    )


def candidate_of(measured: Measured, solution: Solution) -> Candidate:
    """The file that a solution is."""
    return replace(measured.candidate, decisions=solution.choices)


def _position(measured: Measured, decision: Decision, sizes: Mapping[str, int]) -> Position:
    energies = {e.option: e.energy for e in measured.sensitivity.effects if e.decision == decision.name}
    return Position(
        name=decision.name,
        options={
            option: {
                MS: measured.cost.unary(decision, option),
                LOSS: energies.get(option, 0.0),
                BYTES: float(sizes[option]),
            }
            for option in decision.names
        },
    )


def _border(cost: CostModel, here: Decision, there: Decision) -> dict[tuple[str, str], Costs]:
    found = {(a, b): cost.border(here, a, there, b) for a in here.names for b in there.names}
    return {pair: {MS: ms} for pair, ms in found.items() if ms}
