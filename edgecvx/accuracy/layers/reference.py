"""The reference side of ``--per-layer``: the folded network in FP32, tensor by tensor.

The artifact was lowered from a canonical graph; the same graph is made again from the checkpoint and run as it stands
in ONNX Runtime, without its optimizations. Two questions are asked of it:

``values``
    What should each tensor be? The graph, with inner tensors as outputs.
``steps``
    What should each tensor be, *given the artifact's own tensors before it*? The graph is cut at every tensor that the
    artifact shows: each becomes an input, and what the FP32 layers between two cuts make of it becomes an output. An
    error that was inherited passes through both sides of this comparison; only what is born between the cuts is left.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.accuracy.reference import rebuild
from edgecvx.export.onnx.expose import with_outputs
from edgecvx.graph.run import Execution
from edgecvx.graph.values import is_constant, name_of, shape_of, spec_of
from edgecvx.manifest import Manifest

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

Array = NDArray[Any]

_STEP = "step/"
"""Before the name of a tensor that was computed from the artifact's own inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor of the canonical graph."""

    name: str
    kind: str
    """What computes it: ``conv 1x1``, ``depthwise 7x7``, ``Gelu``; ``scale`` and ``shift`` are by a constant."""
    parents: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """In float32."""
        return 4 * int(np.prod(self.shape, dtype=np.int64))


class CanonicalReference:
    """The canonical graph of an artifact, ready to run.

    Args:
        graph: The canonical graph, made with the artifact's own folds, batch and input kind.
        threads: How many threads it may use.
    """

    def __init__(self, graph: ir.Model, threads: int = 1) -> None:
        import onnx_ir as ir

        self._model, self._threads = ir.to_proto(graph), threads
        self._constants = set(graph.graph.initializers)
        self._shapes = {name_of(value): shape_of(value) for node in graph.graph for value in node.outputs}
        self.tensors = tuple(
            Tensor(
                name=name_of(node.outputs[0]),
                kind=_kind(node),
                parents=tuple(name_of(v) for v in node.inputs if v is not None and not is_constant(v)),
                shape=shape_of(node.outputs[0]),
            )
            for node in graph.graph
            if node.op_type != "Cast"
        )
        """In the order of the network. The door for bytes is not among them: a file may shift bytes there."""
        self.input = spec_of(graph.graph.inputs[0])
        """What the graph takes."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, batch included."""
        return self._shapes[name]

    def values(self, names: Sequence[str]) -> Execution:
        """Runs the graph and returns these tensors."""
        return Execution(with_outputs(self._model, names), {name: name for name in names}, threads=self._threads)

    def steps(self, names: Sequence[str], given: Sequence[str]) -> Execution:
        """Computes each of these tensors from the ``given`` ones before it."""
        outputs = {_STEP + name: name for name in names}
        return Execution(self._cut(names, set(given)), outputs, threads=self._threads)

    def boundary(self, names: Sequence[str], shown: Sequence[str]) -> list[str]:
        """The tensors out of ``shown`` that ``steps`` needs to compute ``names``, in the order of the network."""
        known, producers = set(shown), {tensor.name: tensor for tensor in self.tensors}
        needed: set[str] = set()
        waiting = list(names)
        while waiting:
            for parent in producers[waiting.pop()].parents:
                if parent in known:
                    needed.add(parent)
                elif parent in producers:
                    waiting.append(parent)
        return [tensor.name for tensor in self.tensors if tensor.name in needed]

    def hidden(self, name: str, shown: Collection[str]) -> list[Tensor]:
        """The tensors that a step to this one passes on its way from the ``shown`` ones before it."""
        producers = {tensor.name: tensor for tensor in self.tensors}
        found: dict[str, Tensor] = {}
        waiting = [name]
        while waiting:
            for parent in producers[waiting.pop()].parents:
                if parent in producers and parent not in shown and parent not in found:
                    found[parent] = producers[parent]
                    waiting.append(parent)
        return list(found.values())

    def _cut(self, names: Sequence[str], given: set[str]) -> onnx.ModelProto:
        import onnx

        graph = self._model.graph
        wanted = {_STEP + name for name in names}
        needed, fed, nodes = set(wanted), set(), []
        for node in reversed(graph.node):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.output[0] = _STEP + node.output[0]
            if copy.output[0] not in needed:
                continue
            for i, name in enumerate(node.input):
                if not name or name in self._constants:
                    continue
                if name in given or name == graph.input[0].name:
                    fed.add(name)
                else:
                    copy.input[i] = _STEP + name
                    needed.add(_STEP + name)
            nodes.append(copy)
        cut = onnx.ModelProto()
        cut.CopyFrom(self._model)
        for field in ("node", "value_info", "output", "input"):
            cut.graph.ClearField(field)
        cut.graph.node.extend(reversed(nodes))
        cut.graph.input.extend(info for info in (*graph.input, *graph.value_info, *graph.output) if info.name in fed)
        cut.graph.output.extend(onnx.ValueInfoProto(name=_STEP + name) for name in names)
        used = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        cut.graph.ClearField("initializer")
        cut.graph.initializer.extend(kept)
        return cut


def canonical_reference(
    manifest: Manifest, checkpoints: Sequence[Path] = (), *, threads: int = 1
) -> CanonicalReference:
    """The canonical graph that an artifact was lowered from, made again from the weights.

    Args:
        manifest: The artifact's.
        checkpoints: Files to look for its weights in, where they came from a file.
        threads: How many threads the reference may use.

    Raises:
        CheckpointError: The weights are missing, or are not those the artifact was made from.
    """
    from edgecvx.graph.network import UINT8_FOLD, canonical_graph

    graph, _ = canonical_graph(
        rebuild(manifest, checkpoints).module,
        manifest.model,
        task=manifest.task,
        batch=manifest.input.shape[0],
        input_kind=manifest.input_kind,
        folds=[fold for fold in manifest.folds if fold != UINT8_FOLD],
    )
    return CanonicalReference(graph, threads)


def _kind(node: ir.Node) -> str:
    if node.op_type == "Conv":
        kernel = "x".join(map(str, node.attributes["kernel_shape"].as_ints()))
        return f"{'depthwise' if node.attributes['group'].as_int() > 1 else 'conv'} {kernel}"
    if node.op_type in ("Mul", "Add") and any(map(is_constant, node.inputs)):
        return {"Mul": "scale", "Add": "shift"}[node.op_type]
    return node.op_type
