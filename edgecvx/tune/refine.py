"""Block by block: stages b, c and d for one network and target, whose calibrated INT8 file looks best so far.

What each decision costs in answers comes from the quantized graph, what it costs in time from whole files in turns, and
the exact program puts both together: the front of files that nobody measured yet.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgecvx.errors import EdgecvxError
from edgecvx.quantize.plan import QuantPlan, read_plan
from edgecvx.spec import InputKind, Precision, Task, from_json, to_json
from edgecvx.sweep.job import hash_of
from edgecvx.targets import get_target
from edgecvx.tune.field import Field
from edgecvx.tune.model.chains import BYTES, LOSS, MS, Sizes, chain_of
from edgecvx.tune.model.cost import CostModel, Observation, design, fit
from edgecvx.tune.model.pieces import Pieces
from edgecvx.tune.model.sensitivity import Sensitivity, sensitivity
from edgecvx.tune.model.tries import Tried, Tries
from edgecvx.tune.program.chain import Chain
from edgecvx.tune.race.measured import Standing
from edgecvx.tune.space import Candidate, Decision, space
from edgecvx.tune.space.bounds import layers_of
from edgecvx.tune.space.forced import usual
from edgecvx.tune.workshop import Workshop

if TYPE_CHECKING:
    import onnx_ir as ir

LOOKED_AT = 128
"""Pictures whose margins say what an energy costs in answers; every option is tried on fewer."""
ROUNDS = 8
"""Turns of each whole file that the model of milliseconds is fitted from."""
POINTS = 4
"""Of the front, that race."""
TRIES = 7
"""Mixtures that are run to find how much energy may be lost: each halves what is open."""
OFF = 0.05
"""A model that misses a time by more is fitted again with it."""


@dataclass(slots=True, kw_only=True)
class Refinement:
    """One network and target, block by block."""

    plain: Candidate
    """Its INT8 file by the precision's own rules."""
    usual: Mapping[str, str]
    """The decisions of that file, which races without them."""
    decisions: tuple[Decision, ...]
    loss: Sensitivity
    cost: CostModel
    tries: Tries
    observations: list[Observation]
    sizes: Sizes
    files: int
    """That were written and timed for it."""
    mended: int = 0
    level: float = 1.0
    """What its files took in the race, over what was predicted: a device may be slower by then, for all of them."""
    raced: dict[str, Candidate] = field(default_factory=dict)
    """Name -> candidate."""

    def front(
        self, room: float | None, max_mb: float | None = None, most: int = POINTS
    ) -> list[tuple[Candidate, float, Tried]]:
        """The files that nothing is predicted to beat, the fastest first; with their milliseconds, and what they lose.

        Args:
            room: Points of top-1 that rounding may lose; None for any number.
            max_mb: Megabytes that a file may have; None for any number.
            most: Files.
        """
        from edgecvx.tune.program import Problem, front

        chain = chain_of(self.decisions, self.loss, self.cost, self.plain.title, self.sizes)
        if max_mb is not None and self._largest(chain) > max_mb * 1e6:  # one that binds nothing only makes it slow
            chain = chain.limited(bytes=max_mb * 1e6)
        if room is not None:
            chain = chain.limited(loss=self._allowed(chain, room))
        points = front(Problem(chains=(chain,)), most=most)
        return [
            (self.candidate(s.choices), self.level * s.totals[MS], self.tries.of(s.choices))
            for s in points
            if dict(s.choices) != dict(self.usual)
        ]

    def _largest(self, chain: Chain) -> float:
        return chain.totals({d.name: d.exact for d in self.decisions})[BYTES]

    def _allowed(self, chain: Chain, room: float) -> float:
        """The energy up to which the fastest mixture, run as a whole, loses no more points than that."""
        from edgecvx.tune.program import solve_chain

        low, high = chain.least(LOSS), sum(max(c.get(LOSS, 0.0) for c in p.options.values()) for p in chain.positions)
        high += chain.base.get(LOSS, 0.0)
        limit = high
        for number in range(TRIES):
            found = solve_chain(chain.limited(loss=limit))
            if found is None or self.tries.of(found.choices).drop > room:
                high = min(high, limit)
            elif number == 0:
                return limit
            else:
                low = limit
            guess = self.loss.allowed(room) if number == 0 else 0.0
            limit = guess if low < guess < high else math.sqrt(max(low, 1e-6 * high) * high)
        return low

    def candidate(self, choices: Mapping[str, str]) -> Candidate:
        """The file of a choice."""
        return replace(self.plain, decisions=dict(choices))

    def is_of(self, candidate: Candidate) -> bool:
        """Whether a candidate is this network for this target, whatever its decisions."""
        return replace(candidate, decisions={}) == self.plain

    def mend(self, standings: Sequence[Standing]) -> bool:
        """Fits the model again with files that raced, where it missed one; whether it did.

        Ratios are those to the first of its own files that raced: of others the model says nothing.
        """
        own = [s for s in standings if s.name in self.raced and s.rounds]
        found, missed = [], False
        for standing in own[1:]:
            candidate, reference = self.raced[standing.name], own[0]
            shared = sorted(standing.rounds.keys() & reference.rounds.keys())
            if not shared:
                continue
            predicted = self.cost.predict(candidate.decisions).ms / self.cost.reference_ms
            ratios = tuple(standing.rounds[r] / reference.rounds[r] for r in shared)
            against = self._to_reference(ratios, reference)
            missed |= abs(sorted(against)[len(against) // 2] / predicted - 1) > OFF
            found.append(Observation(decisions=candidate.decisions, ratios=against))
        if missed:
            self.cost = fit(self.decisions, self.cost.reference, self.cost.reference_ms, [*self.observations, *found])
            self.mended += 1
        if own and own[0].ms is not None:
            self.level = own[0].ms / self.cost.predict(self.raced[own[0].name].decisions).ms
        return missed

    def _to_reference(self, ratios: Sequence[float], reference: Standing) -> tuple[float, ...]:
        """Ratios to a file that raced, as ratios to the file that the model is fitted to."""
        own = self.cost.predict(self.raced[reference.name].decisions).ms / self.cost.reference_ms
        return tuple(ratio * own for ratio in ratios)


def refine(
    field: Field,
    plain: Candidate,
    *,
    tell: Callable[[str, float], None],
    may_take: Callable[[int], bool],
) -> Refinement | None:
    """Looks at a network and target block by block; None where there is nothing to decide, or no time for it.

    Args:
        field: Who writes and times files.
        plain: The candidate in calibrated INT8, without decisions.
        tell: Told what is done, and how much of it.
        may_take: Whether there is time for so many whole files.
    """
    target = get_target(plain.target)
    model = field.workshop.models[plain.model]
    found = space(target, model.spec.arch).decisions
    wanted = design(found) if found else ()
    if not found or not may_take(len(wanted)):
        return None
    field.workshop.file(plain)
    graph, plan = graph_of(field.workshop, plain), read_plan(field.workshop.plan(plain.model, plain.size))
    loss, tries = _loss(
        field, plain, graph, plan, found, lambda part: tell(f"what each block's rounding costs: {plain.title}", part)
    )
    candidates = [replace(plain, decisions=dict(choices)) for choices in wanted]
    field.workshop.write(candidates, lambda name, done, of: tell(f"writing {name}", done / max(1, of)))
    observations, reference_ms = _times(field, candidates, tell)
    cost = fit(found, wanted[0], reference_ms, observations)
    as_it_is = usual(graph, target.schemes[Precision.INT8], plan, found)
    return Refinement(
        plain=plain,
        usual=as_it_is,
        decisions=found,
        loss=loss,
        cost=cost,
        tries=tries,
        observations=observations,
        sizes=Sizes(
            kind=target.format.kind,
            layers={layer.name: layer for layer in layers_of(model.spec.arch, model.spec.num_classes, plain.size)},
            bytes=field.workshop.file(plain).bytes,
            decisions=as_it_is,
        ),
        files=len(candidates),
    )


def _loss(
    field: Field,
    plain: Candidate,
    graph: ir.Model,
    plan: QuantPlan,
    decisions: Sequence[Decision],
    on_part: Callable[[float], None],
) -> tuple[Sensitivity, Tries]:
    """What each decision costs in answers, kept for a later run; and how whole mixtures are tried."""
    workshop, scheme = field.workshop, get_target(plain.target).schemes[Precision.INT8]
    samples = field.pictures.search[:LOOKED_AT]
    pictures = [(s.sha256, s.label) for s in samples]  # other labels make other answers right
    asked = {"file": workshop.key(plain), "pictures": pictures, "scheme": to_json(scheme)}
    place = workshop.work / "sensitivity" / f"{hash_of(asked)[:24]}.json"
    from edgecvx.files import write_atomically
    from edgecvx.graph.values import spec_of

    inputs, tried = field.pictures.inputs(
        workshop.models[plain.model], plain.size, spec_of(graph.graph.inputs[0]), LOOKED_AT
    )
    labels = [s.label for s in tried if s.label is not None]
    tries = Tries(
        pieces=Pieces(graph, plan, scheme, tuple(decisions)),
        pictures=inputs,
        labels=labels,
        place=place.with_name(f"{place.stem}-tried.json"),
    )
    with contextlib.suppress(OSError, ValueError, EdgecvxError):
        return from_json(Sensitivity, json.loads(place.read_text(encoding="utf-8"))), tries
    measured = sensitivity(
        graph,
        plan,
        scheme,
        decisions,
        inputs,
        hashes=[s.sha256 for s in tried],
        labels=labels,
        on_part=on_part,
    )
    write_atomically(place, json.dumps(to_json(measured)).encode())
    return measured, tries


def graph_of(workshop: Workshop, candidate: Candidate) -> ir.Model:
    """The canonical graph of a candidate's network, for one picture."""
    from edgecvx.graph.network import canonical_graph

    loaded = workshop.models[candidate.model].load(candidate.size)
    graph, _ = canonical_graph(loaded.module, loaded.spec, task=Task.CLASSIFY, batch=1, input_kind=InputKind.FLOAT)
    return graph


def _times(
    field: Field, candidates: Sequence[Candidate], tell: Callable[[str, float], None]
) -> tuple[list[Observation], float]:
    """Every whole file beside the first, in turns; and the first one's time."""
    names = [f"design {index} of {candidates[0].title}" for index in range(len(candidates))]
    field.candidates.update(zip(names, candidates, strict=True))
    tell(f"timing {len(names)} whole files in turns", 0.0)
    timings = field.bench(names, ROUNDS)
    reference = timings[names[0]].rounds
    if not reference:
        raise EdgecvxError(timings[names[0]].error or f"{names[0]} could not be timed")
    observations = []
    for name, candidate in zip(names, candidates, strict=True):
        shared = sorted(timings[name].rounds.keys() & reference.keys())
        ratios = tuple(timings[name].rounds[r] / reference[r] for r in shared)
        if ratios:
            observations.append(Observation(decisions=candidate.decisions, ratios=ratios, rounds=tuple(shared)))
    return observations, sorted(reference.values())[len(reference) // 2]
