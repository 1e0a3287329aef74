"""The space as data: what a target has follows from its scheme, and every option is another file."""

from __future__ import annotations

import itertools
from dataclasses import replace

import onnx_ir as ir
import pytest
from lowerings import canonical
from quantized import plan_of
from support import arch, network

from edgecvx.errors import EdgecvxError
from edgecvx.models.variants import VARIANTS
from edgecvx.quantize.insert import insert
from edgecvx.spec import Precision
from edgecvx.targets import get_target
from edgecvx.tune.space import Candidate, decisions, space
from edgecvx.tune.space.forced import forced

NANO = VARIANTS["convnextv2_nano"]


def names_of(target: str, stage: int = 0) -> dict[str, tuple[str, ...]]:
    return {d.part: d.names for d in space(get_target(target), NANO).decisions if d.stage == stage}


def test_each_target_has_the_options_that_its_scheme_has() -> None:
    assert names_of("onnx") == names_of("openvino") == {"depthwise": ("int8", "float"), "mlp": ("int8", "float")}
    assert names_of("native") == names_of("web") == {"mlp": ("int8", "float")}, "its depthwise is float"
    assert names_of("tflite")["mlp"] == ("int8", "dynamic", "float")
    assert names_of("raspberrypi5")["mlp"] == ("int8", "gelu float", "dynamic", "float"), "its GELU is a table"
    assert names_of("tflite", stage=3)["mlp"] == ("int8", "float"), "its scheme returns floats there in any case"


def test_decisions_come_in_the_order_they_are_computed_in_and_nano_has_28() -> None:
    found = space(get_target("onnx"), NANO).decisions
    assert len(found) == 2 * sum(NANO.depths) == 28
    assert [d.name for d in found[:3]] == [f"stages.0.blocks.{n}" for n in ("0.depthwise", "0.mlp", "1.depthwise")]
    assert [(d.stage, d.block) for d in found] == sorted((d.stage, d.block) for d in found)
    assert space(get_target("onnx"), NANO).count() == 2**28


@pytest.mark.parametrize("target", ["onnx", "raspberrypi5", "coreml", "native"])
def test_no_two_options_of_a_decision_are_the_same_graph(target: str) -> None:
    graph = canonical(network(num_classes=5, depths=(1, 1, 1, 1)), size=32)
    plan, scheme = plan_of(graph), get_target(target).schemes[Precision.INT8]
    found = space(get_target(target), arch(depths=(1, 1, 1, 1))).decisions
    exact = {d.name: d.exact for d in found}

    def written(**changed: str) -> bytes:
        chosen = forced(plan, found, {**exact, **changed})
        return bytes(ir.to_proto(insert(graph, scheme, chosen)).SerializeToString())

    for decision in found:
        graphs = [written(**{decision.name: option}) for option in decision.names]
        assert all(a != b for a, b in itertools.combinations(graphs, 2)), decision.name


def test_a_target_without_calibrated_files_has_no_decisions() -> None:
    target = replace(get_target("onnx"), schemes={})
    assert space(target, NANO).decisions == () and Precision.FP32 in space(target, NANO).precisions


def test_the_plain_candidates_are_sizes_times_precisions_times_threads() -> None:
    found = space(get_target("onnx"), NANO).candidates("nano", (160, 224), threads=(1, 2))
    assert len(found) == len(set(found)) == 2 * 4 * 2 and all(not c.decisions for c in found)
    (recommended,) = {c.threads for c in space(get_target("raspberrypi5"), NANO).candidates("nano", (160,))}
    assert recommended == 3


def test_a_candidate_has_one_key_whatever_the_order_of_its_decisions() -> None:
    def candidate(**decisions: str) -> Candidate:
        return Candidate(model="femto", size=224, target="onnx", precision=Precision.INT8, decisions=decisions)

    one, same, other = candidate(a="int8", b="float"), candidate(b="float", a="int8"), candidate(a="float", b="int8")
    assert one == same and one.key == same.key and hash(one) == hash(same) and one.key != other.key
    threaded = replace(one, threads=2)
    assert threaded.key != one.key and threaded.file_key == one.file_key
    assert "1 a int8" in one.title and "x2" in threaded.title


def test_decisions_belong_to_calibrated_files() -> None:
    with pytest.raises(EdgecvxError, match="fp32"):
        Candidate(model="femto", size=224, target="onnx", precision=Precision.FP32, decisions={"a": "int8"})


def test_no_scheme_leaves_a_decision_with_one_option() -> None:
    scheme = get_target("native").schemes[Precision.INT8]
    assert all(len(d.options) > 1 for d in decisions(NANO, scheme, "native"))
    assert not decisions(NANO, replace(scheme, inputs=frozenset()), "native")
