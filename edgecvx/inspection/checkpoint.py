"""How a checkpoint's tensors look to INT8, before anything is exported: what is seen, decided and judged, as values.

It is what ``edgecvx export --int8`` does up to its plan, on fewer pictures, and says of every layer what made the plan.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecvx.data.dataset import DEMO
from edgecvx.errors import missing_package
from edgecvx.graph.scheme import Scheme
from edgecvx.quantize.plan import Arithmetic, Judged, Left
from edgecvx.quantize.request import PlanRequest
from edgecvx.spec import CALIBRATION_PICTURES, Calibration, InputKind, ModelSpec, Precision, Task
from edgecvx.targets import all_targets

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecvx.quantize.observe.observed import PointStatistics
    from edgecvx.quantize.plan import QuantPlan

PICTURES = CALIBRATION_PICTURES // 2
"""Half of an export's, for whoever waits for a look: on the demo networks the answers keep a decibel and a half more or
less than with all of them, and no layer is computed in another way. Seven of them go into no statistics, and the
answers are judged on those."""
OUTLIER = 10.0
"""How many times as far as the median channel's the values of a channel reach that is called an outlier. Trained
without any the demo networks have some behind GRN, which makes channels large because they matter, and none elsewhere
(4 times at most)."""

NAMED = 4
"""Outlier channels that a sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierChannel:
    """A channel that one grid cannot hold together with the others."""

    channel: int
    times: float
    """How many times as far as the median channel's its values reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One tensor over all calibration pictures, as the network has it: before anything is smoothed."""

    low: float
    high: float
    channels: int
    over_rms: float
    """The range that a grid of it has, with zero in it, over the root mean square of the median channel. Channels that
    are much louder than the others would raise that of all channels as they raise the range."""
    outliers: tuple[OutlierChannel, ...]
    """Those that reach furthest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """One convolution, or the classifier."""

    name: str
    reads: Seen
    returns: Seen
    left: Left
    """In dB, of what it reads behind the smoothing."""
    arithmetic: Arithmetic
    reason: str
    """Why it is not INT8 throughout."""
    smoothed: bool

    @property
    def why(self) -> str:
        """The reason, with the channels of the tensor in question that reach too far."""
        floats = self.arithmetic is Arithmetic.FLOAT
        text = f"{'is float: ' * floats}{self.reason}"
        outliers = (self.reads if floats else self.returns).outliers
        if not outliers or (floats and self.left.weights < self.left.input):
            return text
        named = ", ".join(str(outlier.channel) for outlier in outliers[:NAMED])
        more = f" and {len(outliers) - NAMED} more" * (len(outliers) > NAMED)
        reach = f"channel {named} reaches" if len(outliers) == 1 else f"channels {named}{more} reach up to"
        return f"{text}; {reach} {outliers[0].times:.0f} times as far as the median one"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetShare:
    """What of the network is INT8 for targets that keep the same layers float."""

    targets: tuple[str, ...]
    int8_share: float
    """Of all multiply-accumulates."""
    floats: Mapping[str, str]
    """Layer -> reason."""
    outputs: Mapping[str, str]
    """Layers that take integers and return floats -> reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """A checkpoint as INT8 would have it."""

    model: ModelSpec
    task: Task
    """What was judged: ``embed`` for a checkpoint without a classifier."""
    calibration: Calibration
    layers: tuple[LayerReport, ...]
    """In the order of the graph."""
    judged: Judged | None
    """None for random weights, and for too few pictures."""
    doubt: str | None
    """A sentence where INT8 does not hold, with what to do."""
    targets: tuple[TargetShare, ...]
    """Those that have a static INT8 scheme."""
    warnings: tuple[str, ...]
    """Of the checkpoint and of the pictures."""

    @property
    def summary(self) -> tuple[str, ...]:
        """What follows for an export, in sentences."""
        shares: dict[str, list[str]] = {}
        for share in self.targets:
            shares.setdefault(_share(self, share), []).extend(share.targets)
        return (_answers(self), _layers(self.layers), *(f"{', '.join(t)}: {text}" for text, t in shares.items()))


def examine(
    model: str | Path,
    *,
    weights: str = "auto",
    image_size: int | None = None,
    calib: str | Path = DEMO,
    calib_samples: int = PICTURES,
    on_part: Callable[[float], None] = lambda part: None,
) -> Examination:
    """Looks at a checkpoint's tensors on pictures, and decides and judges as an INT8 export would.

    Args:
        model: As ``edgecvx.export`` takes it.
        weights: Likewise.
        image_size: Height and width of the input; the checkpoint's own by default.
        calib: A folder of pictures like those the network will see, or ``demo`` for drawn ones.
        calib_samples: How many of them.
        on_part: Called with how much of the calibration is done, 0 to 1.

    Raises:
        EdgecvxError: The checkpoint or the pictures cannot be read, or a value is NaN or infinite.
    """
    request = PlanRequest(calib=calib, samples=calib_samples)
    try:
        from edgecvx.graph.network import canonical_graph
        from edgecvx.models.load import load_model
        from edgecvx.quantize.planning import plan_on_pictures
    except ModuleNotFoundError as error:
        raise missing_package(f"{error.name}, which reads checkpoints,", "onnx") from error

    loaded = load_model(model, weights=weights, image_size=image_size)
    task = Task.CLASSIFY if loaded.spec.num_classes else Task.EMBED
    kind = InputKind.FLOAT
    graph, folds = canonical_graph(loaded.module, loaded.spec, task=task, batch=1, input_kind=kind)
    planned, stats = plan_on_pictures(graph, loaded.spec, kind, folds, request, on_part=on_part)
    layers = tuple(
        LayerReport(
            name=name,
            reads=seen_of(stats[f"{name}.input"]),
            returns=seen_of(stats[name]),
            left=plan.left,
            arithmetic=plan.arithmetic,
            reason=plan.reason,
            smoothed=bool(plan.smoothing),
        )
        for name, plan in planned.plan.layers.items()
        if plan.left is not None
    )
    return Examination(
        model=loaded.spec,
        task=task,
        calibration=planned.plan.calibration,
        layers=layers,
        judged=planned.plan.judged,
        doubt=planned.doubt,
        targets=_shares(graph, planned.plan),
        warnings=(*loaded.warnings, *planned.warnings),
    )


def seen_of(stats: PointStatistics) -> Seen:
    """One tensor in numbers that can be shown."""
    low, high = stats.range
    rows, share = stats.weighted
    reach = np.maximum(-stats.low, stats.high)
    power = share @ np.square(rows, dtype=np.float64)
    if not power.any():
        return Seen(low=low, high=high, channels=len(reach), over_rms=0.0, outliers=())
    # Channels that are zero in every picture, pruned ones, say nothing of the others.
    times = reach / np.median(reach[reach > 0])
    loud = [int(channel) for channel in np.argsort(-times, kind="stable") if times[channel] > OUTLIER]
    rms = math.sqrt(np.median(power[power > 0]))
    return Seen(
        low=low,
        high=high,
        channels=len(reach),
        over_rms=round((max(high, 0.0) - min(low, 0.0)) / rms, 1),
        outliers=tuple(OutlierChannel(channel=channel, times=round(float(times[channel]), 1)) for channel in loud),
    )


def _shares(graph: ir.Model, plan: QuantPlan) -> tuple[TargetShare, ...]:
    """Each target with what a plan leaves it in INT8; those that keep the same layers float together."""
    from edgecvx.quantize.keep import Kept, keep

    schemes: dict[Scheme, list[str]] = {}
    for target in all_targets():
        if Precision.INT8 in target.schemes:
            schemes.setdefault(target.schemes[Precision.INT8], []).append(target.name)
    found: list[tuple[Kept, list[str]]] = []
    for scheme, names in schemes.items():
        kept = keep(graph, scheme, plan)
        same = next((others for other, others in found if other == kept), None)
        if same is None:
            found.append((kept, names))
        else:
            same += names
    return tuple(
        TargetShare(targets=tuple(names), int8_share=kept.macs, floats=kept.floats, outputs=kept.outputs)
        for kept, names in found
    )


# The summary


def _answers(found: Examination) -> str:
    """What INT8 keeps of the answers."""
    from edgecvx.quantize.judge import ASKED
    from edgecvx.quantize.planning import FEWEST, HELD_OUT

    if found.doubt is not None:
        return f"{found.doubt}."
    if found.judged is None:
        why = (
            "random weights answer nothing"
            if found.model.weights.kind == "random"
            else f"{found.calibration.count} pictures are too few, {FEWEST * HELD_OUT} are enough"
        )
        return f"How much of the answers INT8 keeps was not tried: {why}."
    judged, least = found.judged, min(found.judged.inputs, found.judged.outputs)
    return (
        f"INT8 {'holds' if least >= ASKED else 'just holds'}: of the answers for {judged.pictures} calibration "
        f"pictures that no decision saw it leaves {judged.inputs:.1f} dB, {judged.outputs:.1f} where layers return "
        f"int8 too, and {ASKED:.0f} are asked for."
    )


def _layers(layers: tuple[LayerReport, ...]) -> str:
    """How many layers are float, and why."""
    from edgecvx.quantize.keep import ENOUGH

    floats = Counter(_worst(layer) for layer in layers if layer.arithmetic is Arithmetic.FLOAT)
    returning = Counter(_worst(layer) for layer in layers if layer.arithmetic is Arithmetic.FLOAT_OUTPUT)
    if not floats and not returning:
        return f"All {len(layers)} layers can be INT8 throughout."
    parts = [
        f"{total} {one if total == 1 else many} ({', '.join(f'{number} for {why}' for why, number in count.items())})"
        for one, many, count in (("is float", "are float", floats), ("returns floats", "return floats", returning))
        if (total := count.total())
    ]
    return f"Of {len(layers)} layers {' and '.join(parts)}: a tensor needs {ENOUGH:.0f} dB."


def _worst(layer: LayerReport) -> str:
    """What made a layer float, or return floats."""
    from edgecvx.quantize.keep import ENOUGH

    left = layer.left
    if layer.arithmetic is Arithmetic.FLOAT_OUTPUT:
        figure, what = left.output, "what they return"
    else:
        figure, what = min((left.input, "what they read"), (left.weights, "their weights"))
    return what if figure < ENOUGH else "the answers, which did not hold without"


def _share(found: Examination, share: TargetShare) -> str:
    """What of the arithmetic stays INT8 for a target."""
    decided = {layer.name for layer in found.layers if layer.arithmetic is not Arithmetic.INT8}
    spared = sum(name not in decided for name in share.floats)
    floats = f"{len(share.floats) or 'none'} of {len(found.layers)} layers float"
    idle = f" ({spared} gain no time in INT8)" if spared else ""
    return f"{share.int8_share:.1%} of the multiply-accumulates in INT8, {floats}{idle}."
