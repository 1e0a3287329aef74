"""NNCF as an engine: its numbers in our places, in a plan like any other, and not a word from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from lowerings import canonical
from quantized import images_of, kept, plan_of, run_onnx
from support import network, relative_error

pytest.importorskip("nncf")

from edgecvx.errors import EdgecvxError, RuntimeUnavailableError
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.quantize import nncf as engine
from edgecvx.quantize.decide import Decisions, decide
from edgecvx.quantize.insert import insert
from edgecvx.quantize.nncf import decide_with_nncf
from edgecvx.quantize.observe.calibrate import calibrate
from edgecvx.quantize.plan import QuantPlan
from edgecvx.spec import PreprocessSpec

SCHEMES = (Scheme(), Scheme(symmetric=True), Scheme(outputs=frozenset(Role), activations=True))


def pictures_of(graph: ir.Model) -> list[np.ndarray]:
    return [image[:1] for image in images_of(graph, 6)]


def decided(graph: ir.Model) -> Decisions:
    pictures = pictures_of(graph)
    return decide_with_nncf(graph, pictures, calibrate(graph, pictures))


def plan_with(graph: ir.Model, decisions: Decisions) -> QuantPlan:
    return plan_of(graph, engine="nncf", layers=decisions.layers, activations=decisions.activations)


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return canonical(network())


@pytest.fixture(scope="module")
def decisions(graph: ir.Model) -> Decisions:
    return decided(graph)


def test_every_layer_has_nncfs_numbers(graph: ir.Model, decisions: Decisions) -> None:
    ours = decide(graph, calibrate(graph, pictures_of(graph)), estimator="minmax", refinements=())
    assert list(decisions.layers) == list(ours.layers) and len(ours.layers) == 20
    for name, layer in decisions.layers.items():
        assert layer.input.estimator == "nncf"
        low, high = layer.input.asymmetric.low, layer.input.asymmetric.high
        step = layer.input.asymmetric.scale
        # The whole range that was seen, and a step more at most, so that zero is on the grid.
        assert low == pytest.approx(min(layer.input.low, 0), abs=1.5 * step), name
        assert high == pytest.approx(max(layer.input.high, 0), abs=1.5 * step), name
        assert layer.input.symmetric.zero_point == 0
        np.testing.assert_allclose(layer.weight_scales, ours.layers[name].weight_scales, rtol=0.02)
    assert any(layer.bias_correction for layer in decisions.layers.values())
    assert decisions.activations == ours.activations


def test_the_plan_serves_every_scheme(graph: ir.Model, decisions: Decisions) -> None:
    image = images_of(graph, seed=3)[0]
    exact = run_onnx(graph, image)["logits"]
    for scheme in SCHEMES:
        near = run_onnx(insert(graph, scheme, plan_with(graph, decisions)), image)["logits"]
        assert 0 < relative_error(near, exact) < 0.15, scheme  # 8 bits through five blocks of random weights


def test_the_same_pictures_give_the_same_plan(graph: ir.Model, decisions: Decisions) -> None:
    assert decided(graph) == decisions


@pytest.mark.parametrize(
    "build",
    [
        lambda: canonical(network(), batch=2, folds=()),
        lambda: canonical(network(grn=False, act="silu", stem="overlap_tiered")),
        lambda: canonical(network(), preprocess=PreprocessSpec(size=64)),
    ],
    ids=["unfolded, batch 2", "V1, SiLU", "bytes in"],
)
def test_every_kind_of_graph(build: Callable[[], ir.Model]) -> None:
    graph = build()
    found = decided(graph)
    byte_fed = graph.graph.inputs[0].dtype is ir.DataType.UINT8  # a picture's bytes need no range
    assert all(
        layer.input.estimator == "nncf" for name, layer in found.layers.items() if name != "stem.0" or not byte_fed
    )
    image = images_of(graph, seed=3)[0]
    near, exact = (run_onnx(g, image)["logits"] for g in (insert(graph, Scheme(), plan_with(graph, found)), graph))
    assert relative_error(near, exact) < 0.15


def test_a_corrected_bias_corrects(graph: ir.Model, decisions: Decisions) -> None:
    """With one layer in INT8, its mean per channel comes nearer to the float one than without the correction."""
    name = "stages.2.blocks.1.mlp.fc2"
    scheme, others = Scheme(pairs=()), kept(graph, *(layer for layer in decisions.layers if layer != name))
    plan = plan_with(graph, decisions)
    bare = replace(plan, layers={**plan.layers, name: replace(plan.layers[name], bias_correction=())})
    exact, corrected, plain = (
        np.mean([run_onnx(g, picture, [name])[name].mean((0, 2, 3)) for picture in pictures_of(graph)], axis=0)
        for g in (graph, insert(graph, scheme, plan, others), insert(graph, scheme, bare, others))
    )
    np.testing.assert_allclose(corrected - plain, plan.layers[name].bias_correction, atol=1e-6)
    assert np.abs(corrected - exact).mean() < np.abs(plain - exact).mean()


def test_a_layer_nncf_leaves_out_is_told(graph: ir.Model) -> None:
    untouched = engine._Constants(ir.from_proto(engine._written_out(graph)))
    assert untouched.grid("stem.0") is None
    with pytest.raises(EdgecvxError, match=r"NNCF left the weights of 'stem\.0' in float"):
        untouched.weight_scales("stem.0")


def test_nncf_is_quiet_and_reports_to_nobody() -> None:
    """In a process of its own: NNCF itself switches its telemetry off where it sees pytest."""
    program = """
import sys
from lowerings import canonical
from support import network
from quantized import images_of
from edgecvx.quantize.observe.calibrate import calibrate
from edgecvx.quantize.nncf import decide_with_nncf
graph = canonical(network())
pictures = images_of(graph, 2)
decide_with_nncf(graph, pictures, calibrate(graph, pictures))
from nncf.telemetry import wrapper
assert "pytest" not in sys.modules
assert isinstance(wrapper.telemetry, wrapper.NNCFTelemetryStub), type(wrapper.telemetry)
assert not any(name.startswith("openvino_telemetry") for name in sys.modules)
"""
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_without_nncf_the_user_is_told_what_to_install(graph: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'edgecvx\[nncf\]'"):
        engine._load()
