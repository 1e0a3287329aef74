"""A quantized network in pieces that can be put together anew: one from each block's output to the next block's.

Of a hundred ways to quantize a network most differ in one block. So the network is cut where nothing is ever rounded,
at the residual sums: what comes before the block is computed once for all of them, and each piece is opened once.

The pieces compute what the quantized graph says, in float32 and with all of the runtime's optimizations: quantizing and
dequantizing are kept as they are, so that what is fused are sums of floats. To the digit they are no reference; that is
what ``graph.run`` is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.board.engines.onnxruntime import import_onnxruntime
from edgecvx.graph.values import name_of
from edgecvx.quantize.insert import insert
from edgecvx.quantize.plan import QuantPlan
from edgecvx.tune.space import Decision
from edgecvx.tune.space.forced import forced

if TYPE_CHECKING:
    from edgecvx.graph.scheme import Scheme

Array = NDArray[Any]
Options = tuple[str, ...]
"""One option for each decision of a block."""


@dataclass(slots=True)
class Pieces:
    """The pieces of one network under one scheme, opened when they are first used."""

    graph: ir.Model
    """The canonical graph."""
    plan: QuantPlan
    scheme: Scheme
    decisions: tuple[Decision, ...]
    threads: int = 1
    _graphs: dict[Options, onnx.ModelProto] = field(default_factory=dict)
    _opened: dict[tuple[int, Options], Any] = field(default_factory=dict)

    @property
    def blocks(self) -> tuple[tuple[Decision, ...], ...]:
        """The decisions of each block, in the order in which they are computed; none of a block without any."""
        by_place: dict[str, list[Decision]] = {name: [] for name in self._ends}
        for decision in self.decisions:
            by_place[f"stages.{decision.stage}.blocks.{decision.block}"].append(decision)
        return tuple(map(tuple, by_place.values()))

    def run(self, piece: int, options: Options, x: Array) -> Array:
        """What a piece makes of what the one before it returned; the last, behind all blocks, returns the answers."""
        key = (piece, options)
        if key not in self._opened:
            self._opened[key] = self._open(piece, options)
        session = self._opened[key]
        found: Array = session.run(None, {session.get_inputs()[0].name: x})[0]
        return found

    def exact(self, x: Array) -> Array:
        """What the canonical graph makes of a picture."""
        key = (-1, ())
        if key not in self._opened:
            self._opened[key] = _session(ir.to_proto(self.graph), self.threads)
        session = self._opened[key]
        found: Array = session.run(None, {session.get_inputs()[0].name: x})[0]
        return found

    @property
    def _ends(self) -> list[str]:
        """The residual sums, in their order."""
        names = [name_of(node.outputs[0]) for node in self.graph.graph if node.op_type == "Add"]
        return [name for name in names if name.count(".") == 3 and ".blocks." in name]

    def _open(self, piece: int, options: Options) -> Any:
        ends = self._ends
        first = name_of(self.graph.graph.inputs[0]) if piece == 0 else ends[piece - 1]
        last = name_of(self.graph.graph.outputs[0]) if piece == len(ends) else ends[piece]
        return _session(_between(self._quantized(piece, options), first, last), self.threads)

    def _quantized(self, piece: int, options: Options) -> onnx.ModelProto:
        """The network in which every block is like this one, as far as it has the options: it serves all blocks."""
        wanted = dict(zip((d.part for d in self._of(piece)), options, strict=True))
        key = tuple(f"{part}={option}" for part, option in sorted(wanted.items()))
        if key not in self._graphs:
            chosen = {
                d.name: wanted.get(d.part, d.exact) if wanted.get(d.part) in d.options else d.exact
                for d in self.decisions
            }
            plan = forced(self.plan, self.decisions, chosen)
            self._graphs[key] = ir.to_proto(insert(self.graph, self.scheme, plan))
        return self._graphs[key]

    def _of(self, piece: int) -> tuple[Decision, ...]:
        blocks = self.blocks
        return blocks[piece] if piece < len(blocks) else ()


def _between(model: onnx.ModelProto, first: str, last: str) -> onnx.ModelProto:
    """The part of a model that leads from one value to another."""
    givers = {output: node for node in model.graph.node for output in node.output}
    known = {value.name: value for value in (*model.graph.input, *model.graph.output, *model.graph.value_info)}
    needed, wanted = set[str](), [last]
    while wanted:
        name = wanted.pop()
        if name in givers and name != first and name not in needed:
            needed |= set(givers[name].output)
            wanted += givers[name].input
    nodes = [node for node in model.graph.node if set(node.output) & needed]
    read = {name for node in nodes for name in node.input}
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.input[:], part.graph.output[:], part.graph.value_info[:]
    del part.graph.initializer[:]
    part.graph.node.extend(nodes)
    part.graph.input.append(known[first])
    part.graph.output.append(known[last])
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in read)
    return part


def _session(model: onnx.ModelProto, threads: int) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Integer kernels would add up in another way, and some processors cut off what does not fit.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def lowest(blocks: Sequence[Sequence[Decision]]) -> list[Options]:
    """Every decision at the option with most in INT8."""
    return [tuple(d.lowest for d in block) for block in blocks]


def exact(blocks: Sequence[Sequence[Decision]]) -> list[Options]:
    """Every decision at the option that rounds nothing."""
    return [tuple(d.exact for d in block) for block in blocks]


def centred(logits: Array) -> Array:
    """Logits without what is common to all classes, which changes no answer."""
    return np.asarray(logits - logits.mean(axis=-1, keepdims=True), dtype=np.float64)
