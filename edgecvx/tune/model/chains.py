"""From what was measured of a network's decisions to the chain of the program."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecvx.tune.model.cost import CostModel
from edgecvx.tune.model.sensitivity import Sensitivity
from edgecvx.tune.program.chain import Chain, Costs, Position
from edgecvx.tune.space import Decision
from edgecvx.tune.space.bounds import Layer, option_bytes

MS, LOSS, BYTES = "ms", "loss", "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What files take on a disk: one that was written, and what the weights of each layer make of another."""

    kind: str
    """Of the target's format."""
    layers: Mapping[str, Layer]
    """By name (``bounds.layers_of``)."""
    bytes: float
    """Of a file that was written, all its parts."""
    decisions: Mapping[str, str]
    """Its own."""


def chain_of(decisions: Sequence[Decision], loss: Sensitivity, cost: CostModel, name: str, sizes: Sizes) -> Chain:
    """What each option costs in milliseconds, in energy and in bytes.

    It comes without limits: how much energy a file may have is the caller's to say (``Chain.limited``), who knows how
    many points of top-1 that is.
    """
    energies = {(e.decision, e.option): e.energy for e in loss.effects}
    weights = _weights(decisions, sizes)
    rest = sizes.bytes - sum(weights[choice] for choice in sizes.decisions.items())
    base = {MS: cost.base, LOSS: loss.base.energy, BYTES: rest}
    positions = tuple(
        Position(
            name=d.name,
            options={
                option: {
                    MS: cost.unary(d, option),
                    LOSS: energies.get((d.name, option), 0.0),
                    BYTES: weights[d.name, option],
                }
                for option in d.names
            },
        )
        for d in decisions
    )
    neighbours = tuple(_border(cost, here, there) for here, there in itertools.pairwise(decisions))
    return Chain(name=name, positions=positions, base=base, neighbours=neighbours)


def _weights(decisions: Sequence[Decision], sizes: Sizes) -> dict[tuple[str, str], float]:
    return {(d.name, o): float(option_bytes(sizes.layers, d, o, sizes.kind)) for d in decisions for o in d.names}


def _border(cost: CostModel, here: Decision, there: Decision) -> dict[tuple[str, str], Costs]:
    found = {(a, b): cost.border(here, a, there, b) for a in here.names for b in there.names}
    return {pair: {MS: ms} for pair, ms in found.items() if ms}
