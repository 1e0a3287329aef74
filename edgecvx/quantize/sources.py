"""What each target of an export is lowered from, and what its file is then held to."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.data.preprocess import as_input
from edgecvx.graph.probabilities import ending_in_softmax
from edgecvx.graph.run import execute
from edgecvx.graph.scheme import Scheme
from edgecvx.graph.values import spec_of
from edgecvx.quantize.decide import Decisions
from edgecvx.quantize.insert import insert
from edgecvx.quantize.keep import Kept, keep
from edgecvx.quantize.plan import QuantPlan
from edgecvx.quantize.planning import Planned, look
from edgecvx.runtimes.logits import softmax
from edgecvx.spec import OutputKind, PreprocessSpec

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
    floats: Kept = field(default_factory=Kept)
    """The layers that the target could compute in INT8, and that are not."""


@dataclass(frozen=True)
class GraphSources:
    """The canonical graph, or its quantized form under a target's scheme; targets of one scheme share it."""

    graph: ir.Model
    """The canonical graph."""
    preprocess: PreprocessSpec
    """How pictures are prepared for it."""
    pictures: Array
    """The probe pictures, as bytes."""
    expected: Sequence[Array]
    """FP32 PyTorch's outputs for them."""
    planned: Planned | None
    """The plan, for static INT8."""
    output: OutputKind = OutputKind.LOGITS
    """What the files of a classifier return; the plan is of logits in any case."""
    made: dict[Scheme | None, GraphSource] = field(default_factory=dict)

    def of(self, scheme: Scheme | None) -> GraphSource:
        """The source for targets of a scheme; None for files of floats."""
        if scheme not in self.made:
            source = self._source(scheme)
            self.made[scheme] = source if self.output is OutputKind.LOGITS else _with_softmax(source)
        return self.made[scheme]

    def _source(self, scheme: Scheme | None) -> GraphSource:
        planned = self.planned
        if scheme is None or planned is None:  # scales found at run time: nothing but the file itself computes them
            if scheme is None:
                return GraphSource(graph=self.graph, expected=self.expected, against="fp32")
            kept = keep(self.graph, scheme, self._looked)
            graph = insert(self.graph, scheme, self._looked, kept)
            return GraphSource(graph=graph, expected=self.expected, against="fp32", floats=kept)
        kept = keep(self.graph, scheme, planned.plan)
        graph = insert(self.graph, scheme, planned.plan, kept)
        probes = as_input(self.pictures, self.preprocess, spec_of(graph.graph.inputs[0]))
        return GraphSource(
            graph=graph,
            expected=execute(graph, list(probes)),
            against="plan",
            kept=planned.kept,
            exact=self._exact,
            plan=planned.plan,
            floats=kept,
        )

    @functools.cached_property
    def exact(self) -> Sequence[Array]:
        """What FP32 returns for the probe pictures, as a file would."""
        return self.expected if self.output is OutputKind.LOGITS else [softmax(array) for array in self.expected]

    @functools.cached_property
    def _looked(self) -> Decisions:
        """What is known of the network where nothing was calibrated."""
        return look(self.graph, self.preprocess)

    @functools.cached_property
    def _exact(self) -> Sequence[Array]:
        """FP32's outputs for the calibration pictures that were kept."""
        return execute(self.graph, self.planned.kept) if self.planned and self.planned.kept else ()


def _with_softmax(source: GraphSource) -> GraphSource:
    """The same for files that return probabilities; what they are held to is computed here, not by a graph."""
    expected, exact = ([softmax(array) for array in arrays] for arrays in (source.expected, source.exact))
    return replace(source, graph=ending_in_softmax(source.graph), expected=expected, exact=exact)
