"""Each fold is an identity of real arithmetic: proved here in float64, next to the ways of getting it wrong.

In float64 a true identity holds to rounding, about 1e-14; a wrong one shows at any tolerance between that and its own
size. Every broken variant below must miss ``EXACT`` by a factor of a thousand, so the proofs have teeth.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from support import assert_close, network, probe, relative_error
from torch import Tensor, nn
from torch.nn import functional as F

from edgecvx.errors import ExportError, UsageError
from edgecvx.graph.fold import FOLDS, fold, fold_uint8_input
from edgecvx.models.convnext import Block, ConvNeXt, LayerNorm2d, Stage
from edgecvx.spec import PreprocessSpec, Task

EXACT = 1e-12
WHY = "float64 rounding (1e-16) of sums of some hundred terms, through five blocks"
NOTICEABLE = 1000 * EXACT

V2_FOLDS = ("grn-beta", "grn-rms", "layernorm", "head-norm")
V1_FOLDS = ("layer-scale", "layernorm", "head-norm")
ARCHS: dict[str, dict[str, Any]] = {
    "v2": {},
    "v1": {"grn": False},
    "v1 with overlapping stem": {"grn": False, "stem": "overlap"},
    "v2 with tiered stem, SiLU, other kernels": {"stem": "overlap_tiered", "act": "silu", "kernel_sizes": (3, 5, 7, 9)},
    "v2 with tanh GELU and large epsilons": {"act": "gelu_tanh", "grn_eps": 0.1, "norm_eps": 0.01},
}


def blocks(module: ConvNeXt) -> list[Block]:
    return [m for m in module.modules() if isinstance(m, Block)]


def downsamples(module: ConvNeXt) -> list[tuple[LayerNorm2d, nn.Conv2d]]:
    steps = [m.downsample for m in module.modules() if isinstance(m, Stage) and m.downsample is not None]
    return [(cast(LayerNorm2d, step[0]), cast(nn.Conv2d, step[1])) for step in steps]


@torch.no_grad()
def everything(module: ConvNeXt, x: Tensor) -> list[Tensor]:
    """The four stage maps and the logits."""
    return [*module.features(x), module(x)]


def error(folded: ConvNeXt, original: ConvNeXt) -> float:
    """The largest relative error over all outputs, on two pictures."""
    x = torch.from_numpy(probe(2, 64)).double()
    return max(map(relative_error, everything(folded, x), everything(original, x)))


def done(module: ConvNeXt) -> set[str]:
    """The folds that can be seen in a module's structure."""
    some = blocks(module)
    grns = [b.mlp.grn for b in some if b.mlp.grn is not None]
    norms = [b.norm for b in some] + [norm for norm, _ in downsamples(module)]
    seen = {
        "layer-scale": not grns and all(b.gamma is None for b in some),
        "grn-beta": bool(grns) and all(g.bias is None for g in grns),
        "grn-rms": bool(grns) and all(g.form == "rms" for g in grns),
        "layernorm": all(n.weight is None and n.bias is None for n in norms),
        "head-norm": module.head.norm.weight is None and module.head.norm.bias is None,
    }
    return {name for name, yes in seen.items() if yes}


@pytest.mark.parametrize("changes", ARCHS.values(), ids=ARCHS)
def test_all_folds_together_are_exact(changes: dict[str, Any]) -> None:
    original = network(seed=1, **changes).double()
    folded = fold(original)
    assert folded.applied == (V2_FOLDS if original.arch.grn else V1_FOLDS)
    assert done(folded.module) == set(folded.applied)
    assert error(folded.module, original) < EXACT, WHY


@pytest.mark.parametrize(("grn", "name"), [(True, name) for name in V2_FOLDS] + [(False, name) for name in V1_FOLDS])
def test_each_fold_alone_is_exact_and_does_only_its_own(grn: bool, name: str) -> None:
    original = network(seed=2, grn=grn).double()
    folded = fold(original, [name])
    assert folded.applied == (name,)
    assert done(folded.module) == {name}
    assert error(folded.module, original) < EXACT, WHY


@pytest.mark.parametrize(("grn", "absent"), [(True, ["layer-scale"]), (False, ["grn-beta", "grn-rms"])])
def test_a_fold_with_nothing_to_do_says_so(grn: bool, absent: list[str]) -> None:
    original = network(grn=grn)
    folded = fold(original, absent)
    assert folded.applied == ()
    assert [note for note in folded.notes if "nothing" in note] == [
        f"{a}: nothing to do in this network" for a in absent
    ]
    assert error(folded.module.double(), original.double()) == 0.0


# What each identity would be with a plausible mistake in it; every function returns a wrongly folded network.


def _beta_sign(original: ConvNeXt) -> ConvNeXt:
    wrong = copy.deepcopy(original)
    for block in blocks(wrong):
        cast(Tensor, block.norm.bias).neg_()
    return fold(wrong, ["layernorm"]).module


def _beta_forgotten(original: ConvNeXt) -> ConvNeXt:
    wrong = copy.deepcopy(original)
    for block in blocks(wrong):
        cast(Tensor, block.norm.bias).zero_()
    return fold(wrong, ["layernorm"]).module


def _one_tap_of_four(original: ConvNeXt) -> ConvNeXt:
    wrong = copy.deepcopy(original)
    for norm, _ in downsamples(wrong):
        cast(Tensor, norm.bias).div_(4)
    return fold(wrong, ["layernorm"]).module


def _scale_after_beta(original: ConvNeXt) -> ConvNeXt:
    """As if the norm were g * (z + beta), which makes the bias b + W diag(g) beta."""
    wrong = copy.deepcopy(original)
    for block in blocks(wrong):
        cast(Tensor, block.norm.bias).mul_(cast(Tensor, block.norm.weight))
    return fold(wrong, ["layernorm"]).module


def _head_beta_sign(original: ConvNeXt) -> ConvNeXt:
    wrong = copy.deepcopy(original)
    cast(Tensor, wrong.head.norm.bias).neg_()
    return fold(wrong, ["head-norm"]).module


def _grn_beta_sign(original: ConvNeXt) -> ConvNeXt:
    wrong = copy.deepcopy(original)
    for block in blocks(wrong):
        assert block.mlp.grn is not None
        cast(Tensor, block.mlp.grn.bias).neg_()
    return fold(wrong, ["grn-beta"]).module


def _grn_beta_dropped(original: ConvNeXt) -> ConvNeXt:
    wrong = copy.deepcopy(original)
    for block in blocks(wrong):
        assert block.mlp.grn is not None
        block.mlp.grn.bias = None
    return wrong


def _grn_eps_not_scaled(original: ConvNeXt) -> ConvNeXt:
    """The root mean square with the eps that belongs to the L2 norm: eps / sqrt(HW) times sqrt(HW)."""
    wrong = fold(original, ["grn-rms"]).module
    for i, stage in enumerate(wrong.stages):
        for block in stage.blocks:  # type: ignore[union-attr]
            block.mlp.grn.eps *= 16 / 2**i  # the side of the stage's map in a picture of 64
    return wrong


def _layer_scale_without_bias(original: ConvNeXt) -> ConvNeXt:
    wrong = fold(original, ["layer-scale"]).module
    for right, block in zip(blocks(original), blocks(wrong), strict=True):
        block.mlp.fc2.bias = right.mlp.fc2.bias
    return wrong


def _layer_scale_on_inputs(original: ConvNeXt) -> ConvNeXt:
    """diag(gamma) on the wrong side: W diag(gamma) for the channels that exist on both sides."""
    wrong = fold(original, ["layer-scale"]).module
    for right, block in zip(blocks(original), blocks(wrong), strict=True):
        weight, gamma = right.mlp.fc2.weight.clone(), cast(Tensor, right.gamma)
        weight[:, : len(gamma)] *= gamma.view(1, -1, 1, 1)
        block.mlp.fc2.weight = nn.Parameter(weight)
    return wrong


BROKEN: dict[Callable[[ConvNeXt], ConvNeXt], bool] = {  # -> whether the network has GRN
    _beta_sign: True,
    _beta_forgotten: True,
    _one_tap_of_four: True,
    _scale_after_beta: True,
    _head_beta_sign: True,
    _grn_beta_sign: True,
    _grn_beta_dropped: True,
    _grn_eps_not_scaled: True,
    _layer_scale_without_bias: False,
    _layer_scale_on_inputs: False,
}


@pytest.mark.parametrize(("broken", "grn"), BROKEN.items(), ids=[b.__name__.strip("_") for b in BROKEN])
@torch.no_grad()
def test_a_broken_identity_is_noticed(broken: Callable[[ConvNeXt], ConvNeXt], grn: bool) -> None:
    original = network(seed=3, grn=grn).double()
    assert error(broken(original), original) > NOTICEABLE


@torch.no_grad()
def test_a_norm_before_padding_cannot_be_folded() -> None:
    """Inside the picture the identity holds, but at the border the padding's zeros carry no beta."""
    draw = torch.Generator().manual_seed(4)
    z, g, beta = (torch.randn(s, generator=draw, dtype=torch.float64) for s in ((1, 8, 16, 16), (8,), (8,)))
    weight, bias = (torch.randn(s, generator=draw, dtype=torch.float64) for s in ((8, 1, 7, 7), (8,)))
    true = F.conv2d(z * g.view(1, -1, 1, 1) + beta.view(1, -1, 1, 1), weight, bias, padding=3, groups=8)
    folded_bias = bias + weight.sum(dim=(1, 2, 3)) * beta
    folded = F.conv2d(z, weight * g.view(-1, 1, 1, 1), folded_bias, padding=3, groups=8)
    assert_close(folded[..., 3:-3, 3:-3], true[..., 3:-3, 3:-3], EXACT, why=WHY)
    assert relative_error(folded, true) > 0.1


@pytest.mark.parametrize("task", Task)
def test_the_stems_norm_is_never_folded(task: Task) -> None:
    stem = fold(network(), task=task).module.stem[1]
    assert isinstance(stem, LayerNorm2d)
    assert stem.weight is not None
    assert stem.bias is not None


def test_a_downsample_that_pads_is_refused() -> None:
    original = network()
    _, conv = downsamples(original)[0]
    conv.padding = (1, 1)
    with pytest.raises(ExportError, match="convolution that pads"):
        fold(original, ["layernorm"])


@pytest.mark.parametrize("task", [Task.EMBED, Task.FEATURES])
@torch.no_grad()
def test_head_norm_stays_where_its_output_is_returned(task: Task) -> None:
    original = network(seed=5).double()
    folded = fold(original, task=task)
    assert "head-norm" not in folded.applied
    assert any(task.value in note for note in folded.notes)
    x = torch.from_numpy(probe(1, 64)).double()
    assert_close(folded.module.embed(x), original.embed(x), EXACT, why=WHY)
    wrong = fold(original, ["head-norm"]).module  # folded for logits, asked for the vector
    assert relative_error(wrong.embed(x), original.embed(x)) > 0.01


def test_a_network_without_classifier_keeps_its_head_norm() -> None:
    assert "head-norm" not in fold(network(num_classes=0)).applied


@pytest.mark.parametrize("grn", [True, False])
def test_the_argument_is_not_changed(grn: bool) -> None:
    original = network(seed=6, grn=grn)
    before = copy.deepcopy(original)
    fold(original)
    fold_uint8_input(original, PreprocessSpec())
    assert done(original) == set()
    after, expected = original.state_dict(), before.state_dict()
    assert after.keys() == expected.keys()
    assert all(torch.equal(after[k], expected[k]) for k in expected)


@pytest.mark.parametrize("grn", [True, False])
def test_folding_twice_is_folding_once(grn: bool) -> None:
    once = fold(network(seed=7, grn=grn))
    twice = fold(once.module)
    assert twice.applied == ()
    first, second = once.module.state_dict(), twice.module.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("grn", [True, False])
def test_float32_weights_are_rounded_once(grn: bool) -> None:
    """The same bits as folding in float64 and rounding at the very end."""
    original = network(seed=8, grn=grn)
    single = fold(original).module.state_dict()
    double = fold(copy.deepcopy(original).double()).module.float().state_dict()
    assert all(torch.equal(single[k], double[k]) for k in single)


def test_folds_left_out_are_named() -> None:
    folded = fold(network(), ["grn-rms"])
    assert {note for note in folded.notes if "switched off" in note} == {
        f"{name}: switched off" for name in FOLDS if name != "grn-rms"
    }


def test_unknown_fold_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"unknown fold 'layernrom': did you mean layernorm"):
        fold(network(), ["layernrom"])


# Identity 4: bytes in.

OTHER = PreprocessSpec(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def _uint8_error(spec: PreprocessSpec, folded_with: PreprocessSpec, scale: float = 1.0) -> float:
    original = network(seed=9).double()
    pictures = np.random.default_rng(9).integers(0, 256, (2, 3, 64, 64))
    pictures[1, :, :32] = 0  # black and white edges, where a wrong offset shows most
    pictures[1, :, 32:] = 255
    x = torch.from_numpy(pictures).double()
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
    takes_bytes = fold_uint8_input(original, folded_with)
    return max(
        map(relative_error, everything(takes_bytes, x * scale), everything(original, (x / 255 - mean) / std)),
    )


@pytest.mark.parametrize("spec", [PreprocessSpec(), OTHER, PreprocessSpec(mean=(0.0,) * 3, std=(1.0,) * 3)])
def test_bytes_into_the_stem_is_exact(spec: PreprocessSpec) -> None:
    assert _uint8_error(spec, spec) < EXACT, WHY


def test_bytes_wrongly_folded_are_noticed() -> None:
    swapped = PreprocessSpec(mean=OTHER.std, std=OTHER.mean)
    bgr = PreprocessSpec(mean=(0.3, 0.4, 0.5), std=(0.3, 0.25, 0.2))
    for wrong in (swapped, bgr, PreprocessSpec()):
        assert _uint8_error(OTHER, wrong) > NOTICEABLE
    assert _uint8_error(OTHER, OTHER, scale=1 / 255) > NOTICEABLE  # a picture already divided by 255


@pytest.mark.parametrize("stem", ["overlap", "overlap_tiered"])
def test_bytes_into_a_padded_stem_are_refused_with_the_reason(stem: str) -> None:
    with pytest.raises(ExportError, match=r"pads the normalized picture with zeros.*use --input float"):
        fold_uint8_input(network(stem=stem), PreprocessSpec())


@torch.no_grad()
def test_why_a_padded_stem_must_refuse() -> None:
    """The same formula on a padded convolution: right inside, wrong along the border."""
    draw = torch.Generator().manual_seed(10)
    weight = torch.randn((4, 3, 3, 3), generator=draw, dtype=torch.float64)
    x = torch.randint(0, 256, (1, 3, 16, 16), generator=draw).double()
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (OTHER.mean, OTHER.std))
    true = F.conv2d((x / 255 - mean) / std, weight, padding=1)
    bias = -(weight * (mean / std)).sum(dim=(1, 2, 3))
    folded = F.conv2d(x, weight / (255 * std), bias, padding=1)
    assert_close(folded[..., 1:-1, 1:-1], true[..., 1:-1, 1:-1], EXACT, why=WHY)
    assert relative_error(folded, true) > 0.01


# Why identity 3 is worth having: float16.


def test_sum_of_squares_overflows_float16_where_the_mean_does_not() -> None:
    """A 56x56 map, as femto's first stage has at 224 pixels."""
    pixels = 56 * 56
    limit = float(np.sqrt(np.finfo(np.float16).max / pixels))
    assert limit == pytest.approx(4.57, abs=0.01)
    for level, overflows in ((0.9 * limit, False), (1.1 * limit, True)):
        squares = np.square(np.full(pixels, level, np.float16), dtype=np.float16)
        with np.errstate(over="ignore"):
            assert np.isinf(np.sum(squares, dtype=np.float16)) == overflows
        mean = np.sum((squares.astype(np.float32) / pixels).astype(np.float16), dtype=np.float32)
        assert np.isfinite(np.float16(mean))
        assert float(mean) == pytest.approx(level**2, rel=0.02)


def test_even_the_mean_overflows_where_one_activation_reaches_256() -> None:
    with np.errstate(over="ignore"):
        assert np.isfinite(np.square(np.float16(255.75)))
        assert np.isinf(np.square(np.float16(256.0)))


def test_scaled_eps_vanishes_in_float16_and_zeros_become_nan() -> None:
    """Why the division by the mean response stays in float32: an all-zero map must give zero, not 0 / 0."""
    eps = 1e-6 / 56
    zero = np.float16(0.0)
    assert np.float16(1e-6) > 0
    assert np.float16(eps) == 0
    with np.errstate(invalid="ignore"):
        assert np.isnan(zero / (zero + np.float16(eps)))
    assert np.float32(zero) / (np.float32(zero) + np.float32(eps)) == 0
