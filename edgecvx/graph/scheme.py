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
class Scheme:
    """Which tensors are INT8, and how. Residual sums, LayerNorm and GRN's statistics are float in every scheme."""

    inputs: frozenset[Role] = frozenset(Role)
    """Layers computed in INT8: their weights are int8 and their input is quantized."""
    outputs: frozenset[Role] = frozenset()
    """Layers whose output is quantized too, because the runtime has no kernel that returns floats."""
    activations: bool = False
    """Whether the output of the activation function is quantized too."""
    symmetric: bool = False
    """Whether every zero point is 0."""
    dynamic: bool = False
    """Whether only the weights are quantized in the file and the activations' scales are found at run time."""
    keep_float: tuple[str, ...] = ()
    """Patterns (``stages.0.*.conv_dw``) of layers that stay float."""
    pairs: tuple[PairOrder, ...] = tuple(PairOrder)
    """In which orders the runtime's kernels may add products two by two, on some processors in int16: every order where
    nothing is said, none for a runtime whose sums are exact whatever the weights."""

    def __post_init__(self) -> None:
        if self.dynamic and (self.outputs or self.activations):
            raise EdgecvxError("a dynamic scheme quantizes inputs at run time and no outputs")
        if not self.outputs <= self.inputs:
            raise EdgecvxError("only a layer computed in INT8 can have its output quantized")

    def quantizes(self, layer: str) -> bool:
        """Whether a layer, by its canonical name, is computed in INT8."""
        return role_of(layer) in self.inputs and not any(fnmatch.fnmatchcase(layer, p) for p in self.keep_float)

    def quantizes_output(self, layer: str) -> bool:
        """Whether that layer's output is quantized too."""
        return self.quantizes(layer) and role_of(layer) in self.outputs

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
            "activation function in int8": "yes" if self.activations else "no",
            "kept float": " ".join(self.keep_float) or "none",
            "pairs of weights": "fit into int16 whatever they are multiplied with",
        }
        unsaid = {"zero points": self.dynamic, "pairs of weights": not self.pairs}
        return {key: text for key, text in words.items() if not unsaid.get(key, False)}


def _listed(roles: frozenset[Role]) -> str:
    return " ".join(role.value for role in Role if role in roles) or "none"
