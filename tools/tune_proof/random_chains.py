"""Random chains small enough to try every choice of: what the exact program is held to."""

from __future__ import annotations

import itertools
import random

from edgecvx.tune.program.chain import Chain, Costs, Position

MOST_POSITIONS, MOST_OPTIONS = 6, 3


def random_chain(draw: random.Random, name: str = "chain") -> Chain:
    """Up to six positions of up to three options, costs of either sign, borders, and none to two limits."""
    positions = tuple(_position(draw, f"p{i}") for i in range(draw.randint(1, MOST_POSITIONS)))
    neighbours = tuple(
        {(a, b): {"ms": draw.gauss(0, 0.5)} for a in here.options for b in there.options if draw.random() < 0.7}
        for here, there in itertools.pairwise(positions)
    )
    chain = Chain(name=name, positions=positions, neighbours=neighbours, base={"ms": 2.0, "loss": 0.1})
    limits = {q: _limit(draw, chain, q) for q in draw.sample(("loss", "bytes"), draw.randint(0, 2))}
    return chain.limited(**limits)


def every_choice(chain: Chain) -> list[Costs]:
    """What every choice that keeps the limits comes to."""
    names = [position.name for position in chain.positions]
    ways = itertools.product(*(position.options for position in chain.positions))
    found = [chain.totals(dict(zip(names, way, strict=True))) for way in ways]
    return [totals for totals in found if chain.keeps(totals)]


def _position(draw: random.Random, name: str) -> Position:
    count = draw.randint(1, MOST_OPTIONS)
    return Position(
        name=name,
        options={
            f"o{i}": {
                "ms": draw.gauss(1, 0.5),
                "loss": abs(draw.gauss(0, 1)),
                "bytes": draw.choice((1, 2, 4)) * 1e5,
            }
            for i in range(count)
        },
    )


def _limit(draw: random.Random, chain: Chain, quantity: str) -> float:
    """Somewhere between what cannot be kept and what hardly binds."""
    least = chain.least(quantity)
    most = sum(max(costs[quantity] for costs in p.options.values()) for p in chain.positions)
    return least + (most - least) * draw.uniform(-0.05, 0.7)
