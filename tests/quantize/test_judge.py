"""Decisions judged together: nothing changes where the answers hold, and layers become float where they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from lowerings import canonical
from quantized import images_of
from support import network

from edgecvx.graph.grids import Grid
from edgecvx.quantize import judge as judging
from edgecvx.quantize.decide import Decisions, decide
from edgecvx.quantize.judge import does_not_hold, judge
from edgecvx.quantize.observe.calibrate import calibrate
from edgecvx.quantize.plan import Arithmetic, Judged, Left

FC2 = "stages.2.blocks.0.mlp.fc2"


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return canonical(network(num_classes=5))


@pytest.fixture(scope="module")
def decisions(graph: ir.Model) -> Decisions:
    return decide(graph, calibrate(graph, images_of(graph, 8)))


@pytest.fixture(scope="module")
def held(graph: ir.Model) -> list[np.ndarray]:
    return [image[0] for image in images_of(graph, 4, seed=5)]


def test_what_holds_is_left_alone(
    graph: ir.Model, decisions: Decisions, held: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "ASKED", 10.0)
    same, judged = judge(graph, decisions, held)
    assert same == decisions and judged.pictures == 4 and judged.inputs > judged.outputs > 10


def test_the_layer_that_spoils_the_answers_is_found(
    graph: ir.Model, decisions: Decisions, held: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grid a hundred times too coarse, and a figure that says so: with that layer float the answers are back."""
    layer = decisions.layers[FC2]
    grid = Grid(scale=100 * layer.input.symmetric.scale)
    coarse = replace(layer.input, symmetric=grid, asymmetric=grid)
    left = Left(input=0.0, weights=40.0, output=40.0)
    spoiled = replace(
        decisions,
        layers={
            **decisions.layers,
            FC2: replace(layer, input=coarse, left=left, arithmetic=Arithmetic.INT8, reason=""),
        },
    )
    monkeypatch.setattr(judging, "ASKED", 15.0)
    mended, judged = judge(graph, spoiled, held)
    found = mended.layers[FC2]
    assert found.arithmetic is Arithmetic.FLOAT and judged.inputs >= 15
    assert "among the least" in found.reason and "15 are asked for" in found.reason


def test_what_cannot_be_mended_is_told_with_the_layers(decisions: Decisions) -> None:
    assert does_not_hold(decisions, Judged(pictures=8, inputs=35, outputs=30)) is None
    told = does_not_hold(decisions, Judged(pictures=8, inputs=24.1, outputs=19.5))
    assert told is not None
    for part in ("24.1 dB", "19.5", "stages.", "int8-dynamic", "more pictures"):
        assert part in told
