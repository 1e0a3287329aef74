"""What targets are lowered from: one quantized graph per scheme, and a reference that fits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import support
from lowerings import canonical
from numpy.typing import NDArray
from quantized import plan_of

from edgecvx.data.preprocess import normalize
from edgecvx.data.probe import probe_pictures
from edgecvx.graph.qdq import is_quantized
from edgecvx.graph.run import execute
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.quantize.planning import Planned
from edgecvx.quantize.sources import GraphSources
from edgecvx.spec import PreprocessSpec

PREPROCESS = PreprocessSpec(size=32)
PROBES = probe_pictures(32)
IMAGES = list(normalize(PROBES, PREPROCESS).transpose(0, 3, 1, 2))
"""The same as the graph takes them."""
STATIC, DYNAMIC = Scheme(outputs=frozenset([Role.FC1])), Scheme(dynamic=True)


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return canonical(support.network(num_classes=5), size=32)


@pytest.fixture(scope="module")
def expected(graph: ir.Model) -> list[NDArray[Any]]:
    """What the exact network returns for the probe pictures."""
    return execute(graph, IMAGES)


def sources(graph: ir.Model, expected: Sequence[NDArray[Any]], planned: Planned | None) -> GraphSources:
    return GraphSources(graph, PREPROCESS, PROBES, expected, planned)


def test_files_of_floats_are_held_to_the_exact_network(graph: ir.Model, expected: list[NDArray[Any]]) -> None:
    source = sources(graph, expected, None).of(None)
    assert source.graph is graph and source.expected is expected
    assert (source.against, source.plan, source.kept) == ("fp32", None, ())


def test_a_static_file_is_held_to_its_plan(graph: ir.Model, expected: list[NDArray[Any]]) -> None:
    """Not to FP32: quantizing changes the answers more than a broken lowering of one layer might."""
    planned = Planned(plan=plan_of(graph, [image[None] for image in IMAGES]), kept=tuple(IMAGES[:2]))
    source = sources(graph, expected, planned).of(STATIC)
    assert is_quantized(source.graph) and source.against == "plan" and source.plan is planned.plan
    error = support.relative_error(source.expected[0], expected[0])
    assert 1e-4 < error < 0.2, "near the exact network, and not the same"
    np.testing.assert_array_equal(source.exact[0], execute(graph, planned.kept)[0])


def test_targets_of_one_scheme_share_a_source(graph: ir.Model, expected: list[NDArray[Any]]) -> None:
    made = sources(graph, expected, Planned(plan=plan_of(graph)))
    assert made.of(STATIC) is made.of(Scheme(outputs=frozenset([Role.FC1])))
    assert made.of(STATIC) is not made.of(Scheme())
    assert made.of(STATIC).exact == (), "a plan that was read brings no pictures along"


def test_a_dynamic_file_is_held_to_the_exact_network(graph: ir.Model, expected: list[NDArray[Any]]) -> None:
    """Its scales are found at run time, so no graph computes beforehand what it will return."""
    source = sources(graph, expected, None).of(DYNAMIC)
    assert is_quantized(source.graph) and source.expected is expected
    assert (source.against, source.plan) == ("fp32", None)
