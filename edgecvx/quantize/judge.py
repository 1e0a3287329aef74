"""The decisions of a plan, judged: the quantized graph against FP32, on pictures that no decision saw.

A figure of one tensor cannot know what all roundings together do to the answers. So the quantized graph is run twice,
with inputs alone in INT8 and with everything that any target wants there, on calibration pictures that were kept out
of the statistics. If the answers hold, which they do in networks without outliers, that was all. If not, layers become
float, those first whose figure is smallest: one, two, four, until it holds, or until so many are float that the file
would not be an INT8 one any more, which the user is told.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.graph.run import execute
from edgecvx.graph.scheme import RETURNS_FLOATS, Role, Scheme
from edgecvx.proof.metrics import least_sqnr
from edgecvx.quantize.decide import Decisions
from edgecvx.quantize.figures import NOTHING_LOST
from edgecvx.quantize.insert import insert
from edgecvx.quantize.plan import HOLDS, Arithmetic, Judged, LayerPlan, Left

Array = NDArray[Any]

INPUTS = Scheme(symmetric=True, pairs=())
"""What every target wants in INT8."""
EVERYTHING = Scheme(outputs=frozenset(Role) - {Role.CLASSIFIER}, symmetric=True, pairs=())
"""And what only some do."""
ASKED = 33.0
"""Decibels of the outputs below which layers become float: a first class changes in one picture of two hundred then."""
MOST = 4
"""One layer in so many may become float here, for its input and again for its output."""


def judge(graph: ir.Model, decisions: Decisions, pictures: Sequence[Array]) -> tuple[Decisions, Judged]:
    """Holds decisions to FP32's answers, and keeps more layers float where they do not hold.

    Args:
        graph: The canonical graph.
        decisions: What the figures of each layer asked for.
        pictures: As the graph takes them, without the batch axis.

    Returns:
        The decisions, some of them changed, and what came out.
    """
    exact = execute(graph, pictures)

    def measured(changed: Decisions, scheme: Scheme) -> float:
        least = least_sqnr(zip(execute(insert(graph, scheme, changed), pictures), exact, strict=True))
        return NOTHING_LOST if least is None else least

    decisions, inputs = _search(decisions, lambda d: measured(d, INPUTS), Arithmetic.FLOAT, _of_input)
    decisions, outputs = _search(decisions, lambda d: measured(d, EVERYTHING), Arithmetic.FLOAT_OUTPUT, _of_output)
    return decisions, Judged(pictures=len(pictures), inputs=round(inputs, 1), outputs=round(outputs, 1))


def does_not_hold(decisions: Decisions, judged: Judged) -> str | None:
    """A sentence for the user where INT8 costs answers all the same, with the layers it hurts, and what to do."""
    if min(judged.inputs, judged.outputs) >= HOLDS:
        return None
    worst = sorted(
        (min(_of_input(plan.left), plan.left.output), name)
        for name, plan in decisions.layers.items()
        if plan.left is not None and plan.arithmetic is Arithmetic.INT8
    )
    named = ", ".join(f"{name} ({round(left)} dB)" for left, name in worst[:3])
    return (
        f"INT8 does not hold: of the answers for {judged.pictures} calibration pictures that no decision saw it leaves "
        f"{judged.inputs:.1f} dB, {judged.outputs:.1f} where layers return int8 too, and {ASKED:.0f} are asked for. "
        f"Least is left of {named}. Calibrate on more pictures or take --precision int8-dynamic, and validate the file "
        "before it is used"
    )


def _search(
    decisions: Decisions, measure: Callable[[Decisions], float], arithmetic: Arithmetic, figure: Callable[[Left], float]
) -> tuple[Decisions, float]:
    """Doubles the number of layers that change until the outputs hold; the last try is the answer."""
    found = measure(decisions)
    candidates = sorted(
        (figure(plan.left), name)
        for name, plan in decisions.layers.items()
        if plan.left is not None and plan.arithmetic is Arithmetic.INT8 and figure(plan.left) < NOTHING_LOST
    )
    tried, held, count = decisions, found, 1
    while held < ASKED and count <= len(decisions.layers) // MOST:
        changed = {name: _changed(decisions.layers[name], arithmetic, left, found) for left, name in candidates[:count]}
        tried = dataclasses.replace(decisions, layers={**decisions.layers, **changed})
        held, count = measure(tried), 2 * count
    return tried, held


def _changed(plan: LayerPlan, arithmetic: Arithmetic, left: float, found: float) -> LayerPlan:
    output = arithmetic is Arithmetic.FLOAT_OUTPUT
    begins, what = (RETURNS_FLOATS, "its output") if output else ("", "what it reads")
    reason = (
        f"{begins}int8 leaves {round(left)} dB of {what}, which is among the least, and the answers keep "
        f"{found:.1f} dB where {ASKED:.0f} are asked for"
    )
    return dataclasses.replace(plan, arithmetic=arithmetic, reason=reason)


def _of_input(left: Left) -> float:
    return min(left.input, left.weights)


def _of_output(left: Left) -> float:
    return left.output
