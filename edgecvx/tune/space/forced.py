"""How a candidate's decisions become a file: the calibrated plan of its model and size, with arithmetics set by layer.

Scales and smoothing are the plan's own, so a file with decisions differs from the plain one in what was decided and in
nothing else. A layer that no decision is about (stem, downsampling, classifier) stays what the plan made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgecvx.errors import UsageError, one_of
from edgecvx.files import write_atomically
from edgecvx.quantize.plan import Arithmetic, QuantPlan, dump_plan, read_plan
from edgecvx.tune.space import Candidate, Decision, in_effect

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecvx.graph.scheme import Scheme

REASON = "chosen by tune"
_EXACTNESS = (Arithmetic.INT8, Arithmetic.FLOAT_OUTPUT, Arithmetic.FLOAT)
"""Of what takes effect, from the most in INT8 to none."""


def forced(plan: QuantPlan, decisions: Sequence[Decision], chosen: Mapping[str, str]) -> QuantPlan:
    """A plan in which the layers of each decision are what was chosen, and all others what they were.

    Args:
        plan: Of the model and the size.
        decisions: Of the model for the target.
        chosen: Decision -> option, all of them.

    Raises:
        UsageError: A decision is missing or unknown, or an option is, or the plan is of another network.
    """
    known = {decision.name: decision for decision in decisions}
    for name in chosen:
        if name not in known:
            raise one_of("decision", name, tuple(known))
    layers = dict(plan.layers)
    for name, decision in known.items():
        option = chosen.get(name, "")
        if option not in decision.options:
            raise one_of(f"option of {name}", option, decision.names)
        for layer, arithmetic in decision.options[option].items():
            if layer not in layers:
                raise UsageError(f"the plan has no layer {layer!r}: calibrate this model again")
            layers[layer] = replace(layers[layer], arithmetic=arithmetic, reason=REASON)
    # What was said of the plan's answers was said of other decisions.
    return replace(plan, layers=layers, judged=None)


def write_forced(calibrated: Path, decisions: Sequence[Decision], candidate: Candidate, folder: Path) -> Path:
    """The plan file of a candidate, for ``export(plan=...)``; named after its ``file_key``.

    Args:
        calibrated: The plan of the model's plain INT8 file of this size.
        decisions: Of the model for the target.
        candidate: One with decisions.
        folder: Where the file goes.
    """
    path = folder / f"{candidate.file_key}.plan.json"
    write_atomically(path, dump_plan(forced(read_plan(calibrated), decisions, candidate.decisions)))
    return path


def usual(graph: ir.Model, scheme: Scheme, plan: QuantPlan, decisions: Sequence[Decision]) -> dict[str, str]:
    """The options at which the plain INT8 file of a plan is, for each decision.

    Where the plan made two layers of a part different things, the option is the one with most in INT8 that rounds no
    layer more than the plan does.
    """
    from edgecvx.quantize.keep import keep

    kept = keep(graph, scheme, plan)

    def exactness(layer: str) -> int:
        if layer in kept.floats:
            return _EXACTNESS.index(Arithmetic.FLOAT)
        arithmetic = Arithmetic.FLOAT_OUTPUT if layer in kept.outputs else Arithmetic.INT8
        return _EXACTNESS.index(in_effect(layer, arithmetic, scheme))

    found: dict[str, str] = {}
    for decision in decisions:
        found[decision.name] = next(
            option
            for option, layers in decision.options.items()
            if all(_EXACTNESS.index(in_effect(n, a, scheme)) >= exactness(n) for n, a in layers.items())
        )
    return found
