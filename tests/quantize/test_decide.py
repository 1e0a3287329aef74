"""What a calibration is turned into: one decision per tensor, in numbers that a file can hold."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import support
import torch
from lowerings import canonical
from quantized import images_of

from edgecvx.graph.grids import bias_int32, quantize_weight, weight_scales
from edgecvx.graph.scheme import Role, role_of
from edgecvx.graph.values import array_of
from edgecvx.quantize.decide import Decisions, decide
from edgecvx.quantize.observe.calibrate import calibrate
from edgecvx.quantize.observe.observed import Statistics

FC2 = "stages.2.blocks.1.mlp.fc2"


def seen_of(graph: ir.Model) -> Statistics:
    return calibrate(graph, images_of(graph, count=4))


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    """A network whose GRN makes a few channels loud, as training does."""
    module = support.network(num_classes=5)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("grn.weight"):
                parameter.reshape(-1)[::16] += 100.0
    return canonical(module, size=32)


@pytest.fixture(scope="module")
def seen(graph: ir.Model) -> Statistics:
    return seen_of(graph)


@pytest.fixture(scope="module")
def decided(graph: ir.Model, seen: Statistics) -> Decisions:
    return decide(graph, seen)


def test_every_layer_and_activation_is_decided(graph: ir.Model, decided: Decisions) -> None:
    layers = [str(node.outputs[0].name) for node in graph.graph if node.op_type in ("Conv", "Gemm")]
    assert list(decided.layers) == layers
    assert {role_of(layer) for layer in layers} == set(Role)
    assert len(decided.activations) == 5, "one GELU per block"


def test_ranges_are_those_that_were_seen(seen: Statistics, decided: Decisions) -> None:
    for name, layer in decided.layers.items():
        assert (layer.output.low, layer.output.high) == pytest.approx(seen[name].range)
        assert layer.output.symmetric.zero_point == 0


def test_only_what_grn_can_carry_is_smoothed(decided: Decisions) -> None:
    smoothed = {name for name, layer in decided.layers.items() if layer.smoothing}
    assert FC2 in smoothed
    assert {role_of(name) for name in smoothed} == {Role.FC2}


def test_scales_belong_to_the_smoothed_weights_to_the_last_digit(graph: ir.Model, decided: Decisions) -> None:
    layer = decided.layers[FC2]
    weight = array_of(graph.graph.initializers[f"{FC2}.weight"])
    rescaled = np.asarray(weight * np.asarray(layer.smoothing).reshape(1, -1, 1, 1), np.float32)
    np.testing.assert_array_equal(np.asarray(layer.weight_scales, np.float32), weight_scales(rescaled))
    assert (np.abs(quantize_weight(rescaled).values).max(axis=(1, 2, 3)) == 127).all()


def test_smoothing_narrows_the_range(seen: Statistics, decided: Decisions) -> None:
    """The loud channels no longer decide what all others are rounded to."""
    low, high = seen[f"{FC2}.input"].range
    narrowed = decided.layers[FC2].input
    assert narrowed.high - narrowed.low < 0.5 * (high - low)


def test_refinements_are_done_where_they_are_asked_for(graph: ir.Model, seen: Statistics, decided: Decisions) -> None:
    plain = decide(graph, seen, refinements=()).layers.values()
    assert not any(layer.smoothing or layer.bias_correction for layer in plain)
    corrected = decide(graph, seen, refinements=("bias-correction",)).layers
    for name, layer in corrected.items():
        assert len(layer.bias_correction) == len(layer.weight_scales) and not layer.smoothing, name
    assert not any(layer.bias_correction for layer in decided.layers.values()), "not by default"


def test_the_estimator_is_the_one_asked_for(graph: ir.Model, seen: Statistics) -> None:
    for layer in decide(graph, seen, estimator="mse").layers.values():
        assert layer.input.estimator == layer.output.estimator == "mse"


def test_pruned_channels_keep_their_bias() -> None:
    """A channel without weights, but with a bias: its scale leaves the bias room in int32."""
    module = support.network(num_classes=5)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(("conv_dw.weight", "fc1.weight")):
                parameter[3] = 0
            if name.endswith(("conv_dw.bias", "fc1.bias")):
                parameter[3] = 0.5
    graph = canonical(module, size=32)
    decided = decide(graph, seen_of(graph))
    for node in graph.graph:
        if node.op_type in ("Conv", "Gemm") and len(node.inputs) > 2:
            layer, bias = decided.layers[str(node.outputs[0].name)], array_of(node.inputs[2])
            scales = np.asarray(layer.weight_scales, np.float32)
            for grid in (layer.input.asymmetric, layer.input.symmetric):
                units = grid.scale * scales.astype(np.float64)
                assert np.abs(bias_int32(bias, grid.scale, scales) * units - bias).max() <= units.max()
