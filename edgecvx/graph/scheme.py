"""What a target wants in INT8: a scheme, plain data that stands in the target's file."""

from __future__ import annotations

import enum
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from edgecvx.errors import EdgecvxError
from edgecvx.graph.pairs import PairOrder, Pairs, pairs_of


class Role(str, enum.Enum):
    """What a layer with weights is in the network; decides how it is quantized."""

    STEM = "stem"
    DEPTHWISE = "depthwise"
    FC1 = "fc1"
    FC2 = "fc2"
    DOWNSAMPLE = "downsample"
    CLASSIFIER = "classifier"


ACTIVATION = ".mlp.act"
"""How the name of an activation's output ends."""

ACTIVATION_REACH = "edgecvx.high"
"""In the metadata of an activation function's node, where a scheme asks for it: how far from zero it was seen."""

RETURNS_FLOATS = "returns floats: "
"""How the reason begins why a layer is not INT8 throughout, where it takes integers all the same."""

_ENDINGS = {
    ".conv_dw": Role.DEPTHWISE,
    ".mlp.fc1": Role.FC1,
    ".mlp.fc2": Role.FC2,
    ".downsample.1": Role.DOWNSAMPLE,
}


def role_of(layer: str) -> Role:
    """The role of a Conv or Gemm of the canonical graph, by the name of its output.

    Raises:
        EdgecvxError: No layer of the network is called so.
    """
    if layer == "logits":
        return Role.CLASSIFIER
    if layer.startswith("stem."):
        return Role.STEM
    for ending, role in _ENDINGS.items():
        if layer.endswith(ending):
            return role
    raise EdgecvxError(f"{layer!r} is no layer of a ConvNeXt that could be quantized")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparing:
    """Where INT8 gains no time: of a role's layers only so many are INT8 as the file's size and arithmetic ask for.

    They are taken from the last stage backwards, where a layer has the most weights for the fewest products.
    """

    role: Role = Role.DEPTHWISE
    stages: tuple[int, ...] = (3, 2, 1, 0)
    """Whose layers may be taken, in this order."""
    macs: float = 0.95
    """The part of all multiply-accumulates that shall be INT8."""
    weights: float = 0.984
    """The part of all weights that shall be INT8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """Which tensors a runtime can have in INT8, and how.

    Residual sums, LayerNorm and GRN's statistics are float in every scheme. Which of the layers it can compute in INT8
    are float all the same follows from what a calibration saw (``edgecvx.quantize.keep``).
    """

    inputs: frozenset[Role] = frozenset(Role)
    """Layers computed in INT8: their weights are int8 and their input is quantized."""
    outputs: frozenset[Role] = frozenset()
    """Layers whose output is quantized too."""
    returns_integers: frozenset[Role] = frozenset()
    """Those of them whose kernels return integers and nothing else: where one grid does not hold the output, the layer
    has to be float. The others can return floats."""
    returns_floats: tuple[str, ...] = ()
    """Patterns (``*.downsample.1``) of layers whose output stays float although their role's is quantized: where the
    runtime returns floats in the same time."""
    activations: bool = False
    """Whether the output of the activation function is quantized too."""
    activation_reach: bool = False
    """Whether the graph says how far the activation function reached when calibrated: for a runtime that keeps what it
    returns in integers of its own."""
    symmetric: bool = False
    """Whether every zero point is 0."""
    dynamic: bool = False
    """Whether only the weights are quantized in the file and the activations' scales are found at run time."""
    spares: Sparing | None = None
    """What INT8 makes smaller and no faster."""
    pairs: tuple[PairOrder, ...] = tuple(PairOrder)
    """In which orders the runtime's kernels may add products two by two, on some processors in int16: every order where
    nothing is said, none for a runtime whose sums are exact whatever the weights."""

    def __post_init__(self) -> None:
        if self.dynamic and (self.outputs or self.activations or self.activation_reach):
            raise EdgecvxError("a dynamic scheme quantizes inputs at run time and no outputs")
        if not self.outputs <= self.inputs:
            raise EdgecvxError("only a layer computed in INT8 can have its output quantized")
        if not self.returns_integers <= self.outputs:
            raise EdgecvxError("a layer that can return nothing but integers needs its output quantized")

    def quantizes(self, layer: str) -> bool:
        """Whether the runtime can compute a layer, by its canonical name, in INT8."""
        return role_of(layer) in self.inputs

    def quantizes_output(self, layer: str) -> bool:
        """Whether that layer's output is quantized too, where one grid holds it."""
        spared = any(fnmatch.fnmatchcase(layer, pattern) for pattern in self.returns_floats)
        return self.quantizes(layer) and role_of(layer) in self.outputs and not spared

    def pairs_in(self, layer: str, shape: Sequence[int]) -> tuple[Pairs, ...]:
        """The pairs in a layer's weights of this shape; none in a depthwise convolution, whose kernels make none."""
        role = role_of(layer)
        if role is Role.DEPTHWISE:
            return ()
        # Only the stem's pixels lie in maps; what stands behind a LayerNorm is read in rows.
        orders = [order for order in self.pairs if order is not PairOrder.COLUMNS or role is Role.STEM]
        return tuple(pairs_of(shape, order) for order in orders)

    def describe(self) -> dict[str, str]:
        """The scheme in words, for the manifest."""
        words = {
            "layers": _listed(self.inputs),
            "weights": "int8, one scale per output channel, zero point 0",
            "inputs": "int8, scales found at run time" if self.dynamic else "int8, one scale per tensor",
            "zero points": "0" if self.symmetric else "as the range asks",
            "outputs in int8": _listed(self.outputs),
            "outputs in float all the same": " ".join(self.returns_floats),
            "activation function in int8": "yes" if self.activations else "no",
            "reach of the activation function": "in the file",
            "as few in int8 as need be": "none" if self.spares is None else self.spares.role.value,
            "pairs of weights": "fit into int16 whatever they are multiplied with",
        }
        unsaid = {
            "zero points": self.dynamic,
            "reach of the activation function": not self.activation_reach,
            "as few in int8 as need be": self.spares is None,
            "outputs in float all the same": not self.returns_floats,
            "pairs of weights": not self.pairs,
        }
        return {key: text for key, text in words.items() if not unsaid.get(key, False)}


def _listed(roles: frozenset[Role]) -> str:
    return " ".join(role.value for role in Role if role in roles) or "none"
