"""Hard weights, and what INT8 makes of them: with the rules it holds, and without them it does not.

The networks are atto's demo weights with what training at scale leaves in weights planted on purpose
(``tools/zoo.py``), small pictures, and the quantized graph itself: what it answers, against FP32.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray
from zoo import MEMBERS, plant, write

from edgecvx.data.demo import picture
from edgecvx.data.preprocess import normalize
from edgecvx.export.coreml.format import FORMAT as COREML
from edgecvx.export.onnx.format import FORMAT as ONNX
from edgecvx.export.openvino.format import FORMAT as OPENVINO
from edgecvx.export.tflite.format import FORMAT as TFLITE
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
from edgecvx.graph.run import execute
from edgecvx.models.load import load_model
from edgecvx.proof.metrics import row_powers, sqnr_db
from edgecvx.quantize.decide import Decisions, decide
from edgecvx.quantize.insert import insert
from edgecvx.quantize.judge import judge
from edgecvx.quantize.observe.calibrate import calibrate
from edgecvx.quantize.plan import Arithmetic
from edgecvx.spec import Precision, PreprocessSpec

SIZE, SEEN, HELD, ASKED = 96, 24, 6, 12
SCHEMES = {format.name: format.schemes[Precision.INT8] for format in (ONNX, OPENVINO, TFLITE, COREML)}
HOLDS = 30.0
"""Decibels of the logits: what every member has to keep in every format."""


def drawn(first: int, count: int) -> list[NDArray[Any]]:
    """Drawn pictures as the network takes them; those of one call are in no other's range."""
    pixels = np.stack([picture(i, stream="calibration", size=SIZE)[0] for i in range(first, first + count)])
    return list(np.ascontiguousarray(normalize(pixels, PreprocessSpec()).transpose(0, 3, 1, 2)))


@functools.cache
def graph_of(member: str) -> ir.Model:
    return build_canonical(fold(plant("atto", MEMBERS[member], size=SIZE, pictures=12)).module, image_size=SIZE)


@functools.cache
def decisions_of(member: str) -> Decisions:
    graph = graph_of(member)
    return decide(graph, calibrate(graph, (x[None] for x in drawn(0, SEEN))))


def without_rules(decisions: Decisions) -> Decisions:
    """The same grids, every layer in INT8, and smoothed only where GRN carries it."""
    layers = {
        name: dataclasses.replace(layer, arithmetic=Arithmetic.INT8, reason="")
        for name, layer in decisions.layers.items()
    }
    return dataclasses.replace(decisions, layers=layers)


def kept_of(member: str, decisions: Decisions, formats: Sequence[str] = tuple(SCHEMES)) -> dict[str, float]:
    """Signal over noise of the logits in each format, on pictures that nothing was decided on."""
    graph, asked = graph_of(member), drawn(SEEN + HELD, ASKED)
    (exact,) = execute(graph, asked)
    found = {}
    for name in formats:
        (near,) = execute(insert(graph, SCHEMES[name], decisions), asked)
        signal, noise = row_powers(near, exact)
        found[name] = sqnr_db(float(signal.sum()), float(noise.sum())) or 99.0
    return found


@pytest.mark.parametrize("member", ["raised-s3-1000", "spike-1000", "grn"])
def test_int8_holds_on_hard_weights(member: str) -> None:
    kept = kept_of(member, decisions_of(member))
    assert min(kept.values()) >= HOLDS, kept


def test_the_hardest_are_judged_and_come_nearer() -> None:
    """Each tensor holds by itself, and all roundings together do not: then more layers are float."""
    graph, decided = graph_of("kernels"), decisions_of("kernels")
    decisions, judged = judge(graph, decided, drawn(SEEN, HELD))
    before, after = (kept_of("kernels", d, ["openvino"])["openvino"] for d in (decided, decisions))
    assert before + 1 < after and judged.pictures == HELD
    added = [n for n, layer in decisions.layers.items() if "answers keep" in layer.reason]
    assert 0 < len(added) <= len(decisions.layers) // 2


def test_without_the_rules_it_does_not() -> None:
    """The same tests fail: each rule is there for what these networks lose."""
    kept = kept_of("raised-s3-1000", without_rules(decisions_of("raised-s3-1000")))
    assert max(kept["onnx"], kept["openvino"], kept["coreml"]) < HOLDS - 5, kept
    kept = kept_of("spike-1000", without_rules(decisions_of("spike-1000")), ["coreml"])
    assert kept["coreml"] < HOLDS - 5, kept


def test_what_is_float_says_why() -> None:
    layers = decisions_of("raised-s3-1000").layers
    depthwise = layers["stages.3.blocks.0.conv_dw"]
    assert depthwise.arithmetic is Arithmetic.FLOAT and "dB of what it reads, and 22 are needed" in depthwise.reason
    downsample = layers["stages.3.downsample.1"]
    assert downsample.arithmetic is Arithmetic.FLOAT_OUTPUT and "of its output" in downsample.reason
    untouched = [name for name, layer in layers.items() if layer.arithmetic is Arithmetic.INT8]
    assert len(untouched) == len(layers) - 4, "two depthwise, and what raises and lowers the channel"


def test_nothing_is_float_where_nothing_is_hard() -> None:
    assert all(layer.arithmetic is Arithmetic.INT8 for layer in decisions_of("plain").layers.values())


def test_rescaled_weights_give_the_same_decisions() -> None:
    """Powers of two between a norm and what follows it are folded out exactly."""
    assert decisions_of("rescaled").layers == decisions_of("plain").layers


@pytest.mark.parametrize("member", ["raised-s3-1000", "spike-1000", "grn"])
def test_what_was_planted_leaves_the_network_its_classes(member: str) -> None:
    """A checkpoint that knows nothing any more would be no test of what INT8 costs."""
    images = torch.from_numpy(np.stack(drawn(SEEN, 24)))
    with torch.inference_mode():
        before = load_model("atto", weights="demo").module(images).argmax(1)
        after = plant("atto", MEMBERS[member], size=SIZE, pictures=12)(images).argmax(1)
    assert (before == after).float().mean() > 0.6


def test_a_member_is_the_same_bytes_each_time_and_a_checkpoint(tmp_path: Any) -> None:
    first, second = (write(plant("atto", MEMBERS["grn"], size=64, pictures=2), tmp_path / n / "grn") for n in "ab")
    assert first.read_bytes() == second.read_bytes()
    loaded = load_model(first)
    assert loaded.spec.preprocess.size == 224 and loaded.spec.labels is not None
