"""What could be written: model x size x target x precision x threads, and of calibrated INT8 files block by block.

Declared as data in one place. What of it a target has follows from its scheme: options that come to the same file there
are one option, and a part of a block with one option is no decision. So a depthwise convolution is a decision for ONNX
Runtime and none for the native engine, and a product behind which TFLite's scheme returns floats anyway has no option
for that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from edgecvx.errors import one_of
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.quantize.plan import Arithmetic
from edgecvx.spec import ArchSpec, Precision, to_json
from edgecvx.targets.base import Target

_INT8, _OUT, _FLOAT = Arithmetic.INT8_CHOSEN, Arithmetic.FLOAT_OUTPUT, Arithmetic.FLOAT
_LAYERS: Mapping[Role, str] = MappingProxyType({Role.DEPTHWISE: "conv_dw", Role.FC1: "mlp.fc1", Role.FC2: "mlp.fc2"})
_EXACT = "float"
"""The option that rounds nothing; every part has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a block that is decided as one, and what its layers can be."""

    name: str
    options: Mapping[str, Mapping[Role, Arithmetic]]
    """The one with most in INT8 first, ``float`` last."""


DEPTHWISE = Part(
    name="depthwise",
    options=MappingProxyType({"int8": {Role.DEPTHWISE: _INT8}, _EXACT: {Role.DEPTHWISE: _FLOAT}}),
)
MLP = Part(
    name="mlp",
    options=MappingProxyType(
        {
            "int8": {Role.FC1: _INT8, Role.FC2: _INT8},
            "returns floats": {Role.FC1: _OUT, Role.FC2: _OUT},
            _EXACT: {Role.FC1: _FLOAT, Role.FC2: _FLOAT},
        }
    ),
)
MLP_OF_TFLITE = Part(
    name="mlp",
    options=MappingProxyType(
        {
            "int8": {Role.FC1: _INT8, Role.FC2: _INT8},
            "dynamic": {Role.FC1: _OUT, Role.FC2: _OUT},  # a layer that returns floats finds its scale at run time
            _EXACT: {Role.FC1: _FLOAT, Role.FC2: _FLOAT},
        }
    ),
)
MLP_WITH_TABLE = Part(
    name="mlp",
    options=MappingProxyType(
        {
            "int8": {Role.FC1: _INT8, Role.FC2: _INT8},  # GELU is a table from bytes to bytes
            "gelu float": {Role.FC1: _OUT, Role.FC2: _INT8},
            "dynamic": {Role.FC1: _OUT, Role.FC2: _OUT},
            _EXACT: {Role.FC1: _FLOAT, Role.FC2: _FLOAT},
        }
    ),
)
PARTS: Mapping[tuple[str, bool], tuple[Part, ...]] = MappingProxyType(
    {("tflite", False): (DEPTHWISE, MLP_OF_TFLITE), ("tflite", True): (DEPTHWISE, MLP_WITH_TABLE)}
)
"""Kind of format, and whether its scheme puts activations on a grid -> the parts of a block, in the order they are
computed; ``USUAL`` for all others."""
USUAL = (DEPTHWISE, MLP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one part of one block can be."""

    name: str
    """``stages.2.blocks.3.mlp``."""
    part: str
    """``depthwise`` or ``mlp``."""
    stage: int
    block: int
    options: Mapping[str, Mapping[str, Arithmetic]]
    """Option -> what it makes of each layer, by canonical name; the one with most in INT8 first, ``float`` last."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the options, in their order."""
        return tuple(self.options)

    @property
    def lowest(self) -> str:
        """The option with most in INT8."""
        return self.names[0]

    @property
    def exact(self) -> str:
        """The option that rounds nothing."""
        return self.names[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One file that could be written, and the number of threads it is run with."""

    model: str
    """As the user named it."""
    size: int
    target: str
    precision: Precision
    decisions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Decision -> option, all of them; empty where the precision's own rules decide."""
    threads: int | None = None
    """None leaves it to the runtime."""

    def __post_init__(self) -> None:
        if self.decisions and not self.precision.calibrated:
            raise one_of("precision of a file with decisions", self.precision.value, [Precision.INT8.value])
        object.__setattr__(self, "decisions", MappingProxyType(dict(sorted(self.decisions.items()))))

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> str:
        """The same for the same candidate, on any day: 16 hexadecimal digits."""
        return _digest(to_json(self))

    @property
    def file_key(self) -> str:
        """The same for candidates that are the same file and differ in the threads alone."""
        return _digest({**to_json(self), "threads": None})

    @property
    def title(self) -> str:
        """``femto 192 onnx int8``, with how many parts of blocks are what, and the threads."""
        counts: dict[str, int] = {}
        for name, option in self.decisions.items():
            what = f"{name.rpartition('.')[2]} {option}"
            counts[what] = counts.get(what, 0) + 1
        mixed = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        words = [self.model, str(self.size), self.target, self.precision.value]
        words += [f"({mixed})"] * bool(mixed) + [f"x{self.threads}"] * (self.threads is not None)
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What there is of one model for one target."""

    target: Target
    decisions: tuple[Decision, ...]
    """Of its calibrated INT8 files, in the order in which they are computed."""

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Of its files without decisions."""
        return self.target.precisions

    def threads(self, asked: Sequence[int] = ()) -> tuple[int | None, ...]:
        """Those asked for, or what the target recommends; None leaves it to the runtime."""
        return tuple(dict.fromkeys(asked)) or (self.target.threads,)

    def candidates(self, model: str, sizes: Sequence[int], threads: Sequence[int] = ()) -> tuple[Candidate, ...]:
        """All files whose precision's own rules decide: what the search begins with."""
        return tuple(
            Candidate(model=model, size=size, target=self.target.name, precision=precision, threads=count)
            for size in sizes
            for precision in self.precisions
            for count in self.threads(threads)
        )

    def count(self) -> int:
        """How many files the decisions alone make."""
        total = 1
        for decision in self.decisions:
            total *= len(decision.options)
        return total


def space(target: Target, arch: ArchSpec) -> Space:
    """What there is of a model's architecture for a target."""
    scheme = next((s for p, s in target.schemes.items() if p.calibrated), None)
    return Space(target=target, decisions=() if scheme is None else decisions(arch, scheme, target.format.kind))


def decisions(arch: ArchSpec, scheme: Scheme, kind: str) -> tuple[Decision, ...]:
    """The decisions of an architecture under a scheme, in the order in which they are computed."""
    return tuple(
        decision
        for stage, depth in enumerate(arch.depths)
        for block in range(depth)
        for part in PARTS.get((kind, scheme.activations), USUAL)
        if len((decision := _decision(part, stage, block, scheme)).options) > 1
    )


def _decision(part: Part, stage: int, block: int, scheme: Scheme) -> Decision:
    options: dict[str, Mapping[str, Arithmetic]] = {}
    seen = set[tuple[Arithmetic, ...]]()
    for option, roles in part.options.items():
        layers = {f"stages.{stage}.blocks.{block}.{_LAYERS[role]}": a for role, a in roles.items()}
        effect = tuple(in_effect(layer, arithmetic, scheme) for layer, arithmetic in layers.items())
        if effect not in seen:
            seen.add(effect)
            options[_EXACT if set(effect) == {_FLOAT} else option] = MappingProxyType(layers)
    name = f"stages.{stage}.blocks.{block}.{part.name}"
    return Decision(name=name, part=part.name, stage=stage, block=block, options=MappingProxyType(options))


def in_effect(layer: str, arithmetic: Arithmetic, scheme: Scheme) -> Arithmetic:
    """What a scheme makes of a layer for which a plan has an arithmetic."""
    if not scheme.quantizes(layer) or arithmetic is _FLOAT:
        return _FLOAT
    if not scheme.quantizes_output(layer):
        return _OUT
    if arithmetic is not _OUT:
        return Arithmetic.INT8
    return _FLOAT if _role(layer) in scheme.returns_integers else _OUT


def _role(layer: str) -> Role:
    return next(role for role, ending in _LAYERS.items() if layer.endswith(ending))


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
