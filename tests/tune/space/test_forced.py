"""Decisions become a plan that an export takes, and the file is what was decided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest
from lowerings import canonical
from quantized import plan_of
from support import arch, network

from edgecvx.errors import UsageError
from edgecvx.graph.scheme import Sparing
from edgecvx.quantize.insert import insert
from edgecvx.quantize.keep import keep
from edgecvx.quantize.plan import QuantPlan, dump_plan, read_plan
from edgecvx.spec import Precision
from edgecvx.targets import get_target
from edgecvx.tune.space import Candidate, Decision, space
from edgecvx.tune.space.forced import REASON, forced, usual, write_forced

SCHEME = replace(get_target("onnx").schemes[Precision.INT8], spares=Sparing(macs=0.0, weights=0.96))
"""In which of a small network too some depthwise convolutions are spared."""


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return canonical(network(num_classes=5), size=32)


@pytest.fixture(scope="module")
def plan(graph: ir.Model) -> QuantPlan:
    return plan_of(graph)


@pytest.fixture(scope="module")
def decisions() -> tuple[Decision, ...]:
    return space(get_target("onnx"), arch()).decisions


def test_what_is_decided_is_in_the_file_and_nothing_else(
    graph: ir.Model, plan: QuantPlan, decisions: tuple[Decision, ...]
) -> None:
    chosen = {d.name: d.names[i % 2] for i, d in enumerate(decisions)}
    kept = keep(graph, SCHEME, forced(plan, decisions, chosen))
    wanted = {layer for d in decisions if chosen[d.name] == "float" for layer in d.options["float"]}
    assert set(kept.floats) == wanted and set(kept.floats.values()) == {REASON}


def test_a_depthwise_that_was_chosen_is_int8_where_the_target_would_spare_it(
    graph: ir.Model, plan: QuantPlan, decisions: tuple[Decision, ...]
) -> None:
    lowest = {d.name: d.lowest for d in decisions}
    assert keep(graph, SCHEME, plan).floats, "the target spares some of its own accord"
    assert not keep(graph, SCHEME, forced(plan, decisions, lowest)).floats


def test_the_usual_decisions_give_the_plain_file(
    graph: ir.Model, plan: QuantPlan, decisions: tuple[Decision, ...]
) -> None:
    plain = ir.to_proto(insert(graph, SCHEME, plan)).SerializeToString()
    found = usual(graph, SCHEME, plan, decisions)
    assert set(found.values()) == {"int8", "float"}
    assert ir.to_proto(insert(graph, SCHEME, forced(plan, decisions, found))).SerializeToString() == plain
    flipped = {**found, decisions[1].name: next(o for o in decisions[1].names if o != found[decisions[1].name])}
    assert ir.to_proto(insert(graph, SCHEME, forced(plan, decisions, flipped))).SerializeToString() != plain


def test_a_plan_with_decisions_is_written_and_read_back(
    tmp_path: Path, plan: QuantPlan, decisions: tuple[Decision, ...]
) -> None:
    calibrated = tmp_path / "plain.plan.json"
    calibrated.write_bytes(dump_plan(plan))
    chosen = {d.name: d.exact for d in decisions}
    candidate = Candidate(model="m", size=32, target="onnx", precision=Precision.INT8, decisions=chosen)
    written = write_forced(calibrated, decisions, candidate, tmp_path)
    assert written.name == f"{candidate.file_key}.plan.json"
    assert read_plan(written) == forced(read_plan(calibrated), decisions, chosen)
    assert read_plan(written).judged is None, "what was said of other decisions is not said of these"


def test_what_is_no_decision_is_refused(plan: QuantPlan, decisions: tuple[Decision, ...]) -> None:
    chosen = {d.name: d.exact for d in decisions}
    with pytest.raises(UsageError, match=r"stages\.0\.blocks\.0\.mlp.*int4"):
        forced(plan, decisions, {**chosen, "stages.0.blocks.0.mlp": "int4"})
    with pytest.raises(UsageError, match=r"stages\.9"):
        forced(plan, decisions, {**chosen, "stages.9.blocks.0.mlp": "int8"})
    with pytest.raises(UsageError, match=r"stages\.0\.blocks\.0\.mlp"):
        forced(plan, decisions, {n: o for n, o in chosen.items() if n != "stages.0.blocks.0.mlp"})
