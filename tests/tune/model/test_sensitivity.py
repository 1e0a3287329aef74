"""What each decision does to the logits: paired, alone and among the others, and put together again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from lowerings import canonical
from numpy.typing import NDArray
from quantized import plan_of
from support import arch, network, probe

from edgecvx.errors import UsageError
from edgecvx.graph.grids import Grid
from edgecvx.graph.run import execute
from edgecvx.graph.scheme import Scheme
from edgecvx.quantize.insert import insert
from edgecvx.quantize.plan import QuantPlan
from edgecvx.spec import Precision, from_json, to_json
from edgecvx.targets import get_target
from edgecvx.tune.model import sensitivity as rounding
from edgecvx.tune.model.pieces import Pieces, centred, exact, lowest
from edgecvx.tune.model.sensitivity import Divergence, Sensitivity, lost_points, sensitivity
from edgecvx.tune.model.tries import Tries
from edgecvx.tune.space import Decision, decisions
from edgecvx.tune.space.forced import forced

SCHEME: Scheme = get_target("tflite").schemes[Precision.INT8]
DECISIONS = decisions(arch(), SCHEME, "tflite")
HARD = "stages.2.blocks.0.mlp"
PICTURES = list(probe(6, size=32))
HASHES = [f"{i:064x}" for i in range(6)]
Array = NDArray[Any]


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return canonical(network(num_classes=7), size=32)


@pytest.fixture(scope="module")
def plan(graph: ir.Model) -> QuantPlan:
    """A plan in which one product is rounded far too coarsely."""
    plan = plan_of(graph, [p[None] for p in PICTURES])
    layers = dict(plan.layers)
    for name in (f"{HARD}.fc1", f"{HARD}.fc2"):
        grid = layers[name].input.asymmetric
        coarse = Grid(scale=8 * grid.scale, zero_point=grid.zero_point)
        layers[name] = replace(layers[name], input=replace(layers[name].input, asymmetric=coarse))
    return replace(plan, layers=layers)


@pytest.fixture(scope="module")
def measured(graph: ir.Model, plan: QuantPlan) -> Sensitivity:
    return sensitivity(graph, plan, SCHEME, DECISIONS, PICTURES, hashes=HASHES, measured=5)


def energy_of(graph: ir.Model, plan: QuantPlan, chosen: dict[str, str]) -> float:
    """As the whole quantized graph has it, operation by operation."""
    answers = execute(insert(graph, SCHEME, forced(plan, DECISIONS, chosen)), PICTURES[:5])[0]
    return float(np.square(centred(answers - execute(graph, PICTURES[:5])[0])).mean())


def test_pieces_put_together_are_the_quantized_graph(graph: ir.Model, plan: QuantPlan) -> None:
    pieces = Pieces(graph, plan, SCHEME, DECISIONS)
    for options in (exact(pieces.blocks), lowest(pieces.blocks)):
        chosen = {d.name: o for b, os in zip(pieces.blocks, options, strict=True) for d, o in zip(b, os, strict=True)}
        wanted = execute(insert(graph, SCHEME, forced(plan, DECISIONS, chosen)), PICTURES[:1])[0]
        x: Array = PICTURES[0][None]
        for piece, choice in enumerate(options):
            x = pieces.run(piece, choice, x)
        found = pieces.run(len(options), (), x)
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
        assert np.abs(found - pieces.exact(PICTURES[0][None])).max() > 1e-3 * np.abs(wanted).max(), "INT8 is not FP32"


def test_a_block_without_decisions_is_a_piece_all_the_same(graph: ir.Model, plan: QuantPlan) -> None:
    some = tuple(d for d in DECISIONS if d.stage != 1)
    pieces = Pieces(graph, plan, SCHEME, some)
    assert [len(block) for block in pieces.blocks] == [2, 0, 2, 2, 2]


def test_what_is_rounded_too_coarsely_costs_most(measured: Sensitivity) -> None:
    worst = max(measured.effects, key=lambda e: e.energy)
    others = [e.energy for e in measured.effects if e.decision != HARD]
    assert worst.decision == HARD and worst.energy > 5 * max(others)
    assert worst.alone.interval is not None and worst.alone.interval.low > 0 and worst.adds_up


def test_every_option_but_float_has_an_effect_with_its_interval(measured: Sensitivity) -> None:
    assert [(e.decision, e.option) for e in measured.effects] == [(d.name, o) for d in DECISIONS for o in d.names[:-1]]
    for effect in measured.effects:
        assert effect.alone.interval is not None
        assert effect.alone.interval.low <= effect.alone.energy <= effect.alone.interval.high


def test_the_ends_are_what_the_whole_graph_has(graph: ir.Model, plan: QuantPlan, measured: Sensitivity) -> None:
    none, everything = {d.name: d.exact for d in DECISIONS}, {d.name: d.lowest for d in DECISIONS}
    assert measured.energy(none) == pytest.approx(energy_of(graph, plan, none), rel=0.02)
    assert measured.energy(everything) == pytest.approx(energy_of(graph, plan, everything), rel=0.02)


def test_a_mixture_is_predicted_and_one_without_its_worst_part_is_not(
    graph: ir.Model, plan: QuantPlan, measured: Sensitivity
) -> None:
    mixed = {d.name: d.lowest if d.stage >= 2 else d.exact for d in DECISIONS}
    found = energy_of(graph, plan, mixed)
    # One rounding far too coarse on five pictures: what it comes to depends on the others by a factor of two.
    assert found / 3 < measured.energy(mixed) < 3 * found
    assert measured.energy({**mixed, HARD: "float"}) < found / 10


@pytest.fixture(scope="module")
def drowning(plan: QuantPlan) -> QuantPlan:
    """Three products on grids on which next to nothing is left of the answers."""
    layers = dict(plan.layers)
    for block in ("stages.1.blocks.0", "stages.2.blocks.1", "stages.3.blocks.0"):
        for name in (f"{block}.mlp.fc1", f"{block}.mlp.fc2"):
            grid = layers[name].input.asymmetric
            coarse = Grid(scale=300 * grid.scale, zero_point=grid.zero_point)
            layers[name] = replace(layers[name], input=replace(layers[name].input, asymmetric=coarse))
    return replace(plan, layers=layers)


def test_a_mixture_that_is_tried_costs_what_the_whole_graph_has(graph: ir.Model, plan: QuantPlan) -> None:
    tries = Tries(pieces=Pieces(graph, plan, SCHEME, DECISIONS), pictures=PICTURES, measured=5)
    mixed = {d.name: d.lowest if d.stage >= 2 else d.exact for d in DECISIONS}
    assert tries.of(mixed).energy == pytest.approx(energy_of(graph, plan, mixed), rel=0.02)
    without = {**mixed, HARD: "float"}
    assert tries.of(without).energy == pytest.approx(energy_of(graph, plan, without), rel=0.02)
    assert tries.of(without).drop <= tries.of(mixed).drop
    assert tries.of(without).energy < tries.of(mixed).energy / 5


def test_a_mixture_that_was_tried_is_run_no_second_time(graph: ir.Model, plan: QuantPlan, tmp_path: Path) -> None:
    place, mixed = tmp_path / "tried.json", {d.name: d.exact for d in DECISIONS}
    first = Tries(pieces=Pieces(graph, plan, SCHEME, DECISIONS), pictures=PICTURES, measured=1, place=place).of(mixed)
    nobody: Any = None
    assert Tries(pieces=nobody, pictures=(), place=place).of(mixed) == first
    with pytest.raises(AttributeError):  # the twin: another one is run
        Tries(pieces=nobody, pictures=PICTURES, place=place).of({**mixed, HARD: "int8"})


def test_where_everything_drowns_a_decision_counts_as_it_is_alone(
    graph: ir.Model, drowning: QuantPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = tuple(d for d in DECISIONS if d.part == "mlp")

    def reckoned() -> tuple[float, float]:
        """Of one of the three alone: what the program reckons with, and what was measured."""
        found = sensitivity(graph, drowning, SCHEME, some, PICTURES[:3], hashes=HASHES[:3])
        assert found.everything.energy > 0.1 * found.spread
        (effect,) = [e for e in found.effects if e.decision == "stages.1.blocks.0.mlp" and e.option == "int8"]
        return effect.energy, effect.alone.energy

    with_it, alone = reckoned()
    assert with_it == alone > 0
    monkeypatch.setattr(rounding, "DROWNED", math.inf)  # the twin: as if what drowns added up
    without_it, _ = reckoned()
    assert without_it < 0.8 * alone


def with_losses(lost: tuple[float, ...]) -> Sensitivity:
    nothing = Divergence(energy=0.0, interval=None)
    return Sensitivity(pictures=(), measured=0, base=nothing, everything=nothing, effects=(), spread=1.0, lost=lost)


def test_points_are_what_changes_of_that_size_do_to_answers() -> None:
    draw = np.random.default_rng(0)
    logits = draw.standard_normal((400, 10)).astype(np.float32)
    changes, spread = draw.standard_normal((30, 10)), float(np.square(centred(logits)).mean())
    one = replace(with_losses(lost_points(logits, changes, None, spread)), spread=spread)
    noisy = logits + 0.1 * draw.standard_normal((200, 400, 10))
    flips = 100 * (noisy.argmax(axis=2) != logits.argmax(axis=1)).mean()
    assert one.drop(0.01 * 9 / 10) == pytest.approx(flips, rel=0.3)
    drops = [one.drop(energy) for energy in (0.0, 1e-4, 1e-2, 1.0)]
    assert drops == sorted(drops) and drops[0] == 0
    for points in (0.5, 2.0, 8.0):
        assert one.drop(one.allowed(points)) <= points + 0.3 and one.drop(1.5 * one.allowed(points)) > points


def test_a_change_that_is_the_same_for_all_pictures_costs_more_than_noise() -> None:
    draw = np.random.default_rng(0)
    logits = 3 * draw.standard_normal((400, 10))
    labels = [int(label) for label in logits.argmax(axis=1)]
    noise = draw.standard_normal((20, 10))
    pushed = np.tile(np.eye(10)[0], (20, 1))
    parts = np.array([0.5])
    (by_noise,), (by_push,) = (lost_points(logits, change, labels, 9.0, parts) for change in (noise, pushed))
    assert by_push > by_noise + 5


def test_logits_that_shrink_are_lost_in_noise_that_others_stand_above() -> None:
    draw = np.random.default_rng(0)
    logits = 3 * centred(draw.standard_normal((400, 10)))
    spread, parts = float(np.square(logits).mean()), np.array([1.0])
    noise = 0.3 * centred(draw.standard_normal((20, 10)))
    shrinking = noise - 0.98 * logits[:20]
    (lost,) = lost_points(logits, shrinking, None, spread, parts)
    # The same changes, each on another picture: as if they had nothing to do with the logits they were seen on.
    (strange,) = lost_points(logits, np.roll(shrinking, 1, axis=0), None, spread, parts)
    assert lost > strange + 10


def test_a_wrong_answer_may_come_right_and_a_curve_that_dips_is_read_as_rising() -> None:
    logits, labels = np.array([[2.0, 1.9, 0.0]]), [1]
    (points,) = lost_points(logits, np.array([[0.0, 1.0, 0.0]]), labels, 1.0, np.array([0.5]))
    assert points == -100.0
    rising = with_losses((0.0,) * 20 + (1.0,) * 26)
    dipping = with_losses((0.0,) * 10 + (0.6,) + (0.0,) * 9 + (1.0,) * 26)
    assert dipping.allowed(0.5) == pytest.approx(rising.allowed(0.5), rel=0.5)
    assert with_losses((0.0,) * 46).allowed(0.5) == math.inf and with_losses((1.0,) * 46).allowed(0.5) == 0.0


def test_it_is_kept_as_json_and_the_same_seed_gives_the_same(
    graph: ir.Model, plan: QuantPlan, measured: Sensitivity
) -> None:
    assert from_json(Sensitivity, to_json(measured)) == measured
    some = DECISIONS[:2]
    twice = [sensitivity(graph, plan, SCHEME, some, PICTURES[:2], hashes=HASHES[:2]) for _ in range(2)]
    assert twice[0] == twice[1] and twice[0].pictures == tuple(HASHES[:2])


def test_pictures_have_hashes_and_there_are_some(graph: ir.Model, plan: QuantPlan) -> None:
    with pytest.raises(UsageError, match="hashes"):
        sensitivity(graph, plan, SCHEME, DECISIONS, PICTURES, hashes=HASHES[:1])
    with pytest.raises(UsageError, match="pictures"):
        sensitivity(graph, plan, SCHEME, DECISIONS, [], hashes=[])


def test_decisions_name_layers_of_the_graph(graph: ir.Model, plan: QuantPlan) -> None:
    stranger: tuple[Decision, ...] = decisions(arch(depths=(2, 1, 2, 1)), SCHEME, "tflite")
    with pytest.raises(UsageError, match="no layer"):
        forced(plan, stranger, {d.name: d.exact for d in stranger})
