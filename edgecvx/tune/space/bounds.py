"""Stage (a): what is known of a file before anything is measured.

Bytes and multiply-accumulates follow from the architecture, the size and the precision. They are bounds, not guesses: a
file that breaks a limit by them breaks it by any measurement, so it is neither exported nor timed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edgecvx.graph.scheme import Role
from edgecvx.quantize.plan import Arithmetic
from edgecvx.spec import ArchSpec, Precision
from edgecvx.tune.race.limits import LimitKind, Limits, in_words
from edgecvx.tune.race.verdict import Impossible
from edgecvx.tune.space import Candidate, Decision

FLOAT_BYTES: Mapping[str, int] = MappingProxyType({"tflite": 2, "coreml": 2})
"""Kind of format -> of a float weight in an INT8 file; four where nothing is said."""
_MEGA = 1e6
_KINDS: Mapping[str, LimitKind] = MappingProxyType(
    {"--max-mb": "max_mb", "--max-memory": "max_memory", "--max-p50": "max_p50"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One convolution, or the classifier."""

    name: str
    role: Role
    weights: int
    pixels: int
    """For each of which all weights are multiplied once."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one picture."""
        return self.weights * self.pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a file takes at least."""

    bytes: int
    """Of its weights."""
    macs: int
    memory: int
    """Bytes of a process: the weights, and the residual sum, which no engine has in parts or in integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A candidate that needs no measuring, and why."""

    candidate: Candidate
    bound: Bound
    limit: str
    """``--max-mb``, ``--max-memory``, ``--max-p50``."""
    least: float
    """What it takes at least, in the limit's unit."""
    sentence: str


def layers_of(arch: ArchSpec, classes: int, size: int) -> tuple[Layer, ...]:
    """The layers with weights of a network, in the order in which they are computed."""
    found = _stem(arch, size)
    for stage, (depth, channels, kernel) in enumerate(zip(arch.depths, arch.dims, arch.kernel_sizes, strict=True)):
        pixels = (size // 4 >> stage) ** 2
        if stage:
            weights = 4 * arch.dims[stage - 1] * channels
            found.append(_layer(f"stages.{stage}.downsample.1", Role.DOWNSAMPLE, weights, pixels))
        for block in range(depth):
            name, product = f"stages.{stage}.blocks.{block}", 4 * channels**2
            found.append(_layer(f"{name}.conv_dw", Role.DEPTHWISE, kernel**2 * channels, pixels))
            found.append(_layer(f"{name}.mlp.fc1", Role.FC1, product, pixels))
            found.append(_layer(f"{name}.mlp.fc2", Role.FC2, product, pixels))
    if classes:
        found.append(_layer("logits", Role.CLASSIFIER, classes * arch.dims[-1], 1))
    return tuple(found)


def bound_of(arch: ArchSpec, classes: int, candidate: Candidate, decisions: tuple[Decision, ...] = ()) -> Bound:
    """Of a candidate of a model with this architecture.

    Args:
        arch: The architecture.
        classes: How many the model has.
        candidate: The candidate.
        decisions: Those its own are of, where it has any.
    """
    layers = layers_of(arch, classes, candidate.size)
    floats = _floats(decisions, candidate.decisions)
    least = 2  # of a float in any INT8 file
    width = candidate.precision.bits // 8
    size = sum(layer.weights * (max(width, least) if layer.name in floats else width) for layer in layers)
    residual = 4 * arch.dims[0] * (candidate.size // 4) ** 2
    if candidate.precision is Precision.FP16:
        residual //= 2
    return Bound(bytes=size, macs=sum(layer.macs for layer in layers), memory=size + residual)


def option_bytes(layers: Mapping[str, Layer], decision: Decision, option: str, kind: str) -> int:
    """What the weights of a decision take in a file of a kind of format."""
    width = FLOAT_BYTES.get(kind, 4)
    return sum(
        layers[name].weights * (width if arithmetic is Arithmetic.FLOAT else 1)
        for name, arithmetic in decision.options[option].items()
    )


def hopeless(candidate: Candidate, bound: Bound, limits: Limits, *, macs_per_ms: float = 0.0) -> Dropped | None:
    """Why a candidate cannot keep a limit; None where it might.

    Args:
        candidate: The candidate.
        bound: What it takes at least.
        limits: What is asked.
        macs_per_ms: The most its device does with its threads; 0 where nobody knows.
    """
    asked = (
        ("--max-mb", bound.bytes / _MEGA, limits.max_mb, "MB", "its weights alone are"),
        ("--max-memory", bound.memory / _MEGA, limits.max_memory, "MB", "its weights and its residual sum alone are"),
        (
            "--max-p50",
            bound.macs / macs_per_ms if macs_per_ms else 0.0,
            limits.max_p50,
            "ms",
            "its products alone take",
        ),
    )
    for flag, least, limit, unit, what in asked:
        if limit is not None and least > limit:
            sentence = f"{candidate.title}: {what} {least:.3g} {unit}, and {flag} is {limit:g}"
            return Dropped(candidate=candidate, bound=bound, limit=flag, least=least, sentence=sentence)
    return None


def none_left(dropped: Sequence[Dropped], limits: Limits) -> Impossible:
    """The end of a search in which no file can keep the limits, whatever would be measured."""

    def beyond(d: Dropped) -> float:
        return d.least / (limits.named[_KINDS[d.limit]] or 1.0)

    closest = min(dropped, key=lambda d: (beyond(d), d.candidate.title))
    binding = tuple(
        kind
        for kind, limit in limits.named.items()
        if limit is not None and any(hopeless(d.candidate, d.bound, limits.without(kind)) is None for d in dropped)
    )
    sentence = f"No file of {len(dropped)} can keep all limits; what comes closest is {closest.sentence}"
    if binding:
        sentence += f". Without {' or '.join(in_words(k, limits.named[k] or 0.0) for k in binding)} there might be one"
    return Impossible(closest=closest.candidate.title, binding=binding, sentence=sentence + ".")


def _stem(arch: ArchSpec, size: int) -> list[Layer]:
    first = arch.dims[0]
    if arch.stem_mid is None:
        return [_layer("stem.0", Role.STEM, 3 * 4 * 4 * first, (size // 4) ** 2)]
    return [
        _layer("stem.0", Role.STEM, 3 * 3 * 3 * arch.stem_mid, (size // 2) ** 2),
        _layer("stem.1", Role.STEM, 3 * 3 * arch.stem_mid * first, (size // 4) ** 2),
    ]


def _layer(name: str, role: Role, weights: int, pixels: int) -> Layer:
    return Layer(name=name, role=role, weights=weights, pixels=pixels)


def _floats(decisions: tuple[Decision, ...], chosen: Mapping[str, str]) -> set[str]:
    return {
        layer
        for d in decisions
        if d.name in chosen
        for layer, arithmetic in d.options[chosen[d.name]].items()
        if arithmetic is Arithmetic.FLOAT
    }
