"""What each target of an export is lowered from, and what its file is then held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.data.preprocess import as_input
from edgecvx.graph.run import execute
from edgecvx.graph.scheme import Scheme
from edgecvx.graph.values import spec_of
from edgecvx.quantize.insert import insert
from edgecvx.quantize.plan import QuantPlan
from edgecvx.quantize.planning import Planned
from edgecvx.spec import PreprocessSpec

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSource:
    """A graph to lower, and outputs to compare with."""

    graph: ir.Model
    expected: Sequence[Array]
    """For the probe pictures."""
    against: Literal["fp32", "plan"]
    """What computed them."""
    kept: tuple[Array, ...] = ()
    """Calibration pictures, as the graph takes them, without the batch axis."""
    exact: Sequence[Array] = ()
    """FP32's outputs for those."""
    plan: QuantPlan | None = None
    """Where the graph's scales are from; None where it has none, or finds them at run time."""


class GraphSources:
    """The canonical graph, or its quantized form under a target's scheme; targets of one scheme share it."""

    def __init__(
        self,
        graph: ir.Model,
        preprocess: PreprocessSpec,
        pictures: Array,
        expected: Sequence[Array],
        planned: Planned | None,
    ) -> None:
        """Takes what all targets share.

        Args:
            graph: The canonical graph.
            preprocess: How pictures are prepared for it.
            pictures: The probe pictures, as bytes.
            expected: FP32 PyTorch's outputs for them.
            planned: The plan, for static INT8.
        """
        self._graph, self._preprocess, self._pictures = graph, preprocess, pictures
        self._expected, self._planned = expected, planned
        self._made: dict[Scheme | None, GraphSource] = {
            None: GraphSource(graph=graph, expected=expected, against="fp32")
        }
        self._exact: Sequence[Array] | None = None

    def of(self, scheme: Scheme | None) -> GraphSource:
        """The source for targets of a scheme; None for files of floats."""
        if scheme is not None and scheme not in self._made:
            self._made[scheme] = self._quantized(scheme)
        return self._made[scheme]

    def _quantized(self, scheme: Scheme) -> GraphSource:
        planned = self._planned
        if planned is None:  # scales found at run time: nothing but the file itself computes them
            return GraphSource(graph=insert(self._graph, scheme, None), expected=self._expected, against="fp32")
        graph = insert(self._graph, scheme, planned.plan)
        probes = as_input(self._pictures, self._preprocess, spec_of(graph.graph.inputs[0]))
        if self._exact is None:
            self._exact = execute(self._graph, planned.kept) if planned.kept else ()
        return GraphSource(
            graph=graph,
            expected=execute(graph, list(probes)),
            against="plan",
            kept=planned.kept,
            exact=self._exact,
            plan=planned.plan,
        )
