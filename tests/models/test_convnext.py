"""The network: its shapes, its parts against their formulas, and random weights at which every part matters."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from support import SMALL, arch, assert_close, network, probe, relative_error
from torch import Tensor, nn
from torch.nn import functional as F

from edgecvx.models.convnext import (
    Block,
    ConvNeXt,
    GlobalResponseNorm,
    LayerNorm2d,
    Pointwise,
    activate,
    initialize,
    outputs_of,
)
from edgecvx.spec import STRIDE, Task

EXACT = 1e-12
WHY = "the same formula in float64, summed in another order"


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Shapes and names.


@pytest.mark.parametrize(
    "changes", [{}, {"grn": False}, {"stem": "overlap"}, {"stem": "overlap_tiered"}, {"kernel_sizes": (3, 5, 7, 9)}]
)
@pytest.mark.parametrize("size", [32, 96])
@torch.no_grad()
def test_outputs_of_each_task(changes: dict[str, Any], size: int) -> None:
    module, x = network(num_classes=7, **changes), torch.from_numpy(probe(2, size))
    shapes = {task: [tuple(y.shape) for y in outputs_of(module, x, task.value)] for task in Task}
    assert shapes == {
        Task.CLASSIFY: [(2, 7)],
        Task.FEATURES: [(2, c, size // s, size // s) for c, s in zip(SMALL.dims, (4, 8, 16, STRIDE), strict=True)],
        Task.EMBED: [(2, SMALL.dims[-1])],
    }


def test_parameters_are_named_as_timm_names_them() -> None:
    """timm's checkpoints load without renaming; these names are the layout every other one is turned into."""
    v2, v1 = (set(network(grn=grn).state_dict()) for grn in (True, False))
    block = "stages.2.blocks.1"
    both = {"stem.0.weight", "stem.1.bias", "stages.1.downsample.0.weight", "stages.1.downsample.1.bias"}
    both |= {f"{block}.{part}.weight" for part in ("conv_dw", "norm", "mlp.fc1", "mlp.fc2")}
    both |= {"head.norm.weight", "head.norm.bias", "head.fc.weight", "head.fc.bias"}
    assert both <= v2 & v1
    assert v2 - v1 == {n for n in v2 if n.endswith(("mlp.grn.weight", "mlp.grn.bias"))} != set()
    assert v1 - v2 == {n for n in v1 if n.endswith(".gamma")} != set()


def test_a_network_without_classifier_still_gives_vectors() -> None:
    module, x = network(num_classes=0), torch.from_numpy(probe(1, 32))
    assert module.embed(x).shape == (1, 32)
    with pytest.raises(RuntimeError, match="no classifier"):
        module(x)


# Each part against its formula, written out anew.


def test_layer_norm_works_on_each_pixel_alone() -> None:
    norm = LayerNorm2d(6, eps=1e-3).double()
    norm.weight, norm.bias = nn.Parameter(seeded(6, seed=1)), nn.Parameter(seeded(6, seed=2))
    x = seeded(2, 6, 3, 4)
    with torch.no_grad():
        y = norm(x)
        for n, i, j in ((0, 0, 0), (1, 2, 3)):
            pixel = x[n, :, i, j]
            z = (pixel - pixel.mean()) / (pixel.var(unbiased=False) + 1e-3).sqrt()
            assert_close(y[n, :, i, j], z * norm.weight + norm.bias, EXACT, why=WHY)


@torch.no_grad()
def test_global_response_norm() -> None:
    """As the paper has it, x * (1 + gamma N) + beta, on a map where one channel responds a hundred times stronger."""
    grn = GlobalResponseNorm(4, eps=1e-6).double()
    assert grn.bias is not None
    grn.weight.copy_(seeded(4, seed=1))
    grn.bias.copy_(seeded(4, seed=2))
    x = seeded(2, 4, 5, 3)
    x[:, 1] *= 100
    response = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
    n = response / (response.mean(dim=1, keepdim=True) + 1e-6)
    expected = grn.weight.view(1, -1, 1, 1) * (x * n) + grn.bias.view(1, -1, 1, 1) + x
    assert_close(grn(x), expected, EXACT, why=WHY)
    grn.form = "rms"
    assert_close(grn(x), expected, EXACT, why=WHY)


@torch.no_grad()
def test_global_response_norm_of_nothing_is_its_bias() -> None:
    for form in ("l2", "rms"):
        grn = GlobalResponseNorm(4, eps=1e-6)
        grn.form = form
        nn.init.ones_(grn.weight)
        nn.init.constant_(grn.bias, 0.25)  # type: ignore[arg-type]
        assert torch.equal(grn(torch.zeros(1, 4, 3, 3)), torch.full((1, 4, 3, 3), 0.25))


def test_a_1x1_convolution_is_one_whoever_computes_it() -> None:
    """By oneDNN where nothing but the answer is wanted; by PyTorch's choice where gradients or a graph are."""
    torch.manual_seed(0)
    layer, x = Pointwise(24, 40), torch.randn(8, 24, 7, 7)
    with torch.no_grad(), torch.profiler.profile() as profile:
        found = layer(x)
    operations = {event.key for event in profile.key_averages()}
    here = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    assert here == ("aten::mkldnn_convolution" in operations)
    wanted = F.conv2d(x, layer.weight, layer.bias).detach()
    assert_close(found, wanted, 1e-6, why="the same sums of 24 products in another order")
    assert layer(x).requires_grad
    with torch.no_grad():
        graph = torch.export.export(layer, (x,)).graph
    assert "mkldnn" not in str(graph) and "conv2d" in str(graph)


@pytest.mark.parametrize(
    ("act", "formula"),
    [
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))),
        ("gelu_tanh", lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))),
        ("silu", lambda x: x / (1 + torch.exp(-x))),
    ],
)
def test_activations(act: Any, formula: Any) -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    assert_close(activate(x, act), formula(x), EXACT, why=WHY)
    others = {"gelu", "gelu_tanh", "silu"} - {act}
    assert all(relative_error(activate(x, other), formula(x)) > 1e-5 for other in others)  # type: ignore[arg-type]


@pytest.mark.parametrize("grn", [True, False])
@torch.no_grad()
def test_block(grn: bool) -> None:
    module = network(grn=grn).double()
    block = next(m for m in module.modules() if isinstance(m, Block))
    x = seeded(1, 8, 9, 9)
    dw, fc1, fc2 = block.conv_dw, block.mlp.fc1, block.mlp.fc2
    y = F.conv2d(F.pad(x, (3, 3, 3, 3)), dw.weight, dw.bias, groups=8)
    y = block.norm(y).permute(0, 2, 3, 1)  # from here on pixel by pixel, as matrix products
    y = F.gelu(F.linear(y, fc1.weight[:, :, 0, 0], fc1.bias))
    if block.mlp.grn is not None:
        y = block.mlp.grn(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    y = F.linear(y, fc2.weight[:, :, 0, 0], fc2.bias)
    if block.gamma is not None:
        y = y * block.gamma
    assert_close(block(x), x + y.permute(0, 3, 1, 2), EXACT, why=WHY)


@torch.no_grad()
def test_epsilons_of_the_architecture_are_used() -> None:
    x = torch.from_numpy(probe(1, 32)).double()
    plain = network(seed=1).double()(x)
    larger: list[dict[str, Any]] = [{"norm_eps": 0.1}, {"head_norm_eps": 0.1}, {"grn_eps": 0.1}]
    for changes in larger:
        assert relative_error(network(seed=1, **changes).double()(x), plain) > 1e-4, changes


# Seeded random weights.


@pytest.mark.parametrize("changes", [{}, {"grn": False}, {"stem": "overlap"}], ids=["v2", "v1", "overlap"])
@torch.no_grad()
def test_every_parameter_matters(changes: dict[str, Any]) -> None:
    """A change of any one of them shows in the logits, so that none can be lost or mixed up on the way to a file."""
    module = network(seed=2, **changes).double()
    x = torch.from_numpy(probe(1, 64)).double()
    expected = module(x)
    for name, p in module.named_parameters():
        kept = p.clone()
        p.mul_(1.1)
        assert relative_error(module(x), expected) > 1e-5, name
        p.copy_(kept)


@pytest.mark.parametrize("grn", [True, False])
@torch.no_grad()
def test_without_response_norm_or_layer_scale_it_is_another_network(grn: bool) -> None:
    module = network(seed=3, grn=grn)
    x = torch.from_numpy(probe(1, 64))
    without = copy.deepcopy(module)
    for block in (m for m in without.modules() if isinstance(m, Block)):
        block.mlp.grn, block.gamma = None, None
    assert relative_error(without(x), module(x)) > 0.05


@torch.no_grad()
def test_activations_stay_in_range() -> None:
    """Deep random networks blow up or die out easily; then FP16 would fail, or every answer be the same."""
    deep = network(seed=4, depths=(2, 2, 6, 2))
    x = torch.from_numpy(probe(4, 64))
    for y in deep.features(x):
        assert 0.1 < float(y.std()) < 100
    logits = deep(x)
    assert float((logits[0] - logits[1]).abs().max()) > 0.01 * float(logits.abs().max())


def test_weights_are_seeded_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    fresh = ConvNeXt(arch(), 3)
    torch.set_rng_state(before)
    first, again, other = (initialize(copy.deepcopy(fresh), seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not any(torch.equal(first[k], other[k]) for k in first)
    assert not initialize(fresh, 0).training
