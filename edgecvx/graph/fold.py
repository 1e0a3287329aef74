r"""Exact folding: a network into a smaller network with the same function.

Each fold below is an identity of real arithmetic, proved in float64 by its test. They are applied in the order of
``FOLDS``, because order is meaning: GRN's beta must sit in fc2's bias before anything scales fc2, and a LayerNorm's
affine part is folded into whatever convolution follows it *after* that convolution has its final form. Each can be
switched off by leaving its name out; none changes its argument.

**layer-scale** (V1). The block ends in ``gamma * (W h + b)`` per output channel, so ``W' = diag(gamma) W`` and
``b' = gamma * b``.

**layernorm** (identity 1). ``W (g * z + beta) + b = (W diag(g)) z + (b + W beta)``. It holds for a 1x1 convolution and
for the unpadded 2x2 downsample, where each of the 4 taps sees a normalized pixel:
``b' = b + sum over taps of W beta``. It fails where padding adds zeros *after* the norm, because there beta is missing:
so the norm of the stem, which is followed by the padded depthwise 7x7 (and by the residual sum), stays as it is.

**head-norm** (identity 1). The same for the head's norm and the classifier. Only where logits are what the file
returns: an embedding *is* the norm's output.

**grn-beta** (identity 2). ``W (x * (1 + gamma * N) + beta) + b = W (x * (1 + gamma * N)) + (b + W beta)``.

**grn-rms** (identity 3). With ``G2 = sqrt(sum x^2) = sqrt(HW) * Grms`` the factor ``sqrt(HW)`` cancels:
``N = G2 / (mean(G2) + eps) = Grms / (mean(Grms) + eps / sqrt(HW))``. The sum of squares of a 56x56 map passes the
largest float16 at a root mean square of 4.6; the mean passes it only where single activations reach 256.

**uint8-input** (identity 4). ``W ((p / 255 - mean) / std) + b`` with ``s = 1 / (255 std)`` per input channel is
``(W diag(s)) p + (b - sum over taps of W (mean / std))``. Zero padding pads the *normalized* picture, which is not 0 in
bytes but ``255 mean``: a stem that pads refuses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgecvx.errors import ExportError, one_of
from edgecvx.models.convnext import Block, ConvNeXt, GlobalResponseNorm, LayerNorm2d, Mlp, Stage
from edgecvx.spec import PreprocessSpec, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A folded network, the folds that did something, and why others did not."""

    module: ConvNeXt
    applied: tuple[str, ...]
    notes: tuple[str, ...] = ()


def fold(module: ConvNeXt, folds: Sequence[str] | None = None, *, task: Task = Task.CLASSIFY) -> Folded:
    """Folds a copy of ``module``; the arithmetic is done in float64 and rounded once, at the end of each fold.

    Args:
        module: The network as trained.
        folds: Names out of ``FOLDS``; None for all of them.
        task: What the folded network has to keep computing.
    """
    wanted = tuple(FOLDS) if folds is None else tuple(folds)
    for name in wanted:
        if name not in FOLDS:
            raise one_of("fold", name, tuple(FOLDS))
    module = copy.deepcopy(module)
    applied, notes = [], []
    with torch.no_grad():
        for name, apply in FOLDS.items():
            if name not in wanted:
                notes.append(f"{name}: switched off")
            elif name == "head-norm" and task is not Task.CLASSIFY:
                notes.append(f"{name}: not for {task.value}, which returns what comes before the classifier")
            elif sum(apply(part) for part in module.modules()):
                applied.append(name)
            else:
                notes.append(f"{name}: nothing to do in this network")
    return Folded(module=module, applied=tuple(applied), notes=tuple(notes))


def fold_uint8_input(module: ConvNeXt, preprocess: PreprocessSpec) -> ConvNeXt:
    """A copy of ``module`` that takes the bytes of an RGB picture (identity 4).

    Raises:
        ExportError: The stem pads, so the identity does not hold at the border.
    """
    module = copy.deepcopy(module)
    conv = module.stem[0]
    if _pads(conv):
        raise ExportError(
            f"--input uint8 does not work for {module.arch.name}: its stem pads the normalized picture with zeros, "
            "and no byte stands for a normalized zero; use --input float"
        )
    with torch.no_grad():
        mean = torch.tensor(preprocess.mean, dtype=torch.float64)
        std = torch.tensor(preprocess.std, dtype=torch.float64)
        weight = _weight(conv).double()
        bias = _bias(conv) - torch.einsum("oikl,i->o", weight, mean / std)
        _set(conv, weight / (255.0 * std).view(1, 3, 1, 1), bias)
    return module


def _fold_layer_scale(block: nn.Module) -> bool:
    if not isinstance(block, Block) or block.gamma is None:
        return False
    gamma, fc2 = block.gamma.double(), block.mlp.fc2
    _set(fc2, fc2.weight.double() * gamma.view(-1, 1, 1, 1), _bias(fc2) * gamma)
    block.gamma = None
    return True


def _fold_grn_beta(mlp: nn.Module) -> bool:
    if not isinstance(mlp, Mlp) or mlp.grn is None or mlp.grn.bias is None:
        return False
    weight = mlp.fc2.weight.double()
    _set(mlp.fc2, weight, _bias(mlp.fc2) + torch.einsum("oikl,i->o", weight, mlp.grn.bias.double()))
    mlp.grn.bias = None
    return True


def _fold_grn_rms(grn: nn.Module) -> bool:
    if not isinstance(grn, GlobalResponseNorm) or grn.form == "rms":
        return False
    grn.form = "rms"
    return True


def _fold_layernorm(part: nn.Module) -> bool:
    if isinstance(part, Block):
        return _norm_into(part.norm, part.mlp.fc1)
    return isinstance(part, Stage) and part.downsample is not None and _norm_into(*part.downsample)


def _fold_head_norm(module: nn.Module) -> bool:
    return isinstance(module, ConvNeXt) and module.head.fc is not None and _norm_into(module.head.norm, module.head.fc)


def _norm_into(norm: nn.Module, layer: nn.Module) -> bool:
    """Moves a norm's scale and bias into the linear map that follows it, where it still has them."""
    if not isinstance(norm, LayerNorm2d) or norm.weight is None or norm.bias is None:
        return False
    weight = _weight(layer).double()
    if _pads(layer):
        raise ExportError("a LayerNorm's bias cannot be folded into a convolution that pads")
    taps = weight.flatten(2).sum(2) if weight.ndim == 4 else weight
    bias = _bias(layer) + taps @ norm.bias.double()
    scale = norm.weight.double()
    _set(layer, weight * scale.view(1, -1, *[1] * (weight.ndim - 2)), bias)
    norm.weight, norm.bias = None, None
    return True


FOLDS: dict[str, Callable[[nn.Module], bool]] = {
    "layer-scale": _fold_layer_scale,  # first: fc2 gets its final output scale
    "grn-beta": _fold_grn_beta,  # before anything rescales fc2's input channels
    "grn-rms": _fold_grn_rms,
    "layernorm": _fold_layernorm,
    "head-norm": _fold_head_norm,
}
"""Name -> in-place fold of one module of the network, which says whether it found anything to do there. The order is
the order of application."""


def _pads(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.padding != (0, 0)


def _weight(layer: nn.Module) -> Tensor:
    if not isinstance(layer.weight, Tensor):
        raise ExportError(f"{type(layer).__name__} has no weight to fold into")
    return layer.weight


def _bias(layer: nn.Module) -> Tensor:
    weight = _weight(layer)
    bias: Tensor | None = layer.bias  # type: ignore[assignment]
    return torch.zeros(weight.shape[0], dtype=torch.float64) if bias is None else bias.double()


def _set(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    dtype = _weight(layer).dtype
    layer.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    layer.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
