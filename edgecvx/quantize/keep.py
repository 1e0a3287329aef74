"""Which layers stay float, and why: from what a plan says of each, within what a target can do.

Two rules, in this order:

- **What one grid does not hold.** A plan has a figure for each tensor (``edgecvx.quantize.figures``). Trained without
  outliers every tensor of these networks keeps 24 dB or more; with them single tensors fall to 15, 5 or below zero, and
  take the answers with them. From ``ENOUGH`` on downwards a layer's input or weights make it float, and its output
  makes it return floats, or where its kernel cannot, float too.
- **What gains no time.** Of a role that a target's scheme spares (``Sparing``), depthwise convolutions, only so many
  layers are INT8 as its aims ask for, and those somebody chose layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import onnx_ir as ir

from edgecvx.graph.scheme import RETURNS_FLOATS, Scheme, Sparing, role_of
from edgecvx.graph.values import LAYERS, array_of, name_of, shape_of
from edgecvx.quantize.plan import Arithmetic, Decided, LayerPlan, Left

ENOUGH = 22.0
"""Decibels that have to be left of a tensor; below, one of eight bits after the other is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Layers that a target's runtime could compute in INT8, and that are not, or not throughout. Layer -> reason."""

    floats: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    outputs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Those that take integers and return floats."""
    macs: float = field(default=1.0, compare=False)
    """The part of all multiply-accumulates that is INT8."""

    @property
    def reasons(self) -> dict[str, str]:
        """Of each layer, for the manifest."""
        return {**self.outputs, **self.floats}


def arithmetic_of(left: Left) -> tuple[Arithmetic, str]:
    """What a layer's figures ask for, and the reason."""
    worst, what = min((left.input, "what it reads"), (left.weights, "its weights"))
    if worst < ENOUGH:
        return Arithmetic.FLOAT, f"int8 leaves {round(worst)} dB of {what}, and {ENOUGH:.0f} are needed"
    if left.output < ENOUGH:
        reason = f"{RETURNS_FLOATS}one grid leaves {round(left.output)} dB of its output, and {ENOUGH:.0f} are needed"
        return Arithmetic.FLOAT_OUTPUT, reason
    return Arithmetic.INT8, ""


def keep(graph: ir.Model, scheme: Scheme, plan: Decided | None) -> Kept:
    """What stays float of a canonical graph under a scheme.

    Args:
        graph: The canonical graph.
        scheme: What the target can do.
        plan: What is known of the layers; None where nobody looked.
    """
    layers = {name_of(node.outputs[0]): node for node in graph.graph if node.op_type in LAYERS}
    sizes = {name: array_of(node.inputs[1]).size for name, node in layers.items()}
    macs = {name: size * _pixels(layers[name]) for name, size in sizes.items()}
    floats, outputs = _by_figures(layers, scheme, {} if plan is None else plan.layers)
    integers = [name for name in layers if scheme.quantizes(name) and name not in floats]
    if scheme.spares is not None:
        chosen = frozenset[str]() if plan is None else _chosen(plan)
        spared = _spared(integers, scheme.spares, macs, sizes, chosen)
        floats |= {name: _reason(scheme.spares) for name in spared}
        integers = [name for name in integers if name not in floats]
    return Kept(
        floats=floats,
        outputs={name: reason for name, reason in outputs.items() if name not in floats},
        macs=sum(macs[name] for name in integers) / sum(macs.values()),
    )


def _by_figures(
    layers: Iterable[str], scheme: Scheme, plans: Mapping[str, LayerPlan]
) -> tuple[dict[str, str], dict[str, str]]:
    floats: dict[str, str] = {}
    outputs: dict[str, str] = {}
    for name in layers:
        plan = plans.get(name)
        if plan is None or not scheme.quantizes(name) or plan.arithmetic in (Arithmetic.INT8, Arithmetic.INT8_CHOSEN):
            continue
        if plan.arithmetic is Arithmetic.FLOAT:
            floats[name] = plan.reason
        elif scheme.quantizes_output(name):
            stuck = role_of(name) in scheme.returns_integers
            (floats if stuck else outputs)[name] = plan.reason.removeprefix(RETURNS_FLOATS) if stuck else plan.reason
    return floats, outputs


def _spared(
    integers: Sequence[str], spares: Sparing, macs: Mapping[str, int], sizes: Mapping[str, int], chosen: frozenset[str]
) -> tuple[str, ...]:
    """The layers that are left float because the aims are reached without them."""
    candidates = [name for name in integers if role_of(name) is spares.role and name not in chosen]
    taken = {name for name in integers if name not in candidates}
    for stage in spares.stages:
        for name in (n for n in candidates if n.startswith(f"stages.{stage}.")):
            if all(
                sum(amount[n] for n in taken) >= aim * sum(amount.values())
                for amount, aim in ((macs, spares.macs), (sizes, spares.weights))
            ):
                break
            taken.add(name)
    return tuple(name for name in candidates if name not in taken)


def _chosen(plan: Decided) -> frozenset[str]:
    return frozenset(name for name, layer in plan.layers.items() if layer.arithmetic is Arithmetic.INT8_CHOSEN)


def _reason(spares: Sparing) -> str:
    return f"a {spares.role.value} convolution gains no time in INT8 here, and the file's size does not ask for it"


def _pixels(node: ir.Node) -> int:
    return math.prod(shape_of(node.outputs[0])[2:])
