"""From tensors to a network: what fits is recognized without a flag, what does not is told tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from support import SMALL, network
from torch import Tensor

from edgecvx.errors import CheckpointError
from edgecvx.models.checkpoints import build, read_checkpoint
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.models.variants import VARIANTS
from edgecvx.models.weightfile import WeightFile


def weights(**changes: object) -> dict[str, Tensor]:
    return dict(network(**changes).state_dict())  # type: ignore[arg-type]


def file(tensors: Mapping[str, Tensor]) -> WeightFile:
    return WeightFile(name="weights.pth", tensors=tensors, metadata={}, sha256="", notes=())


def refused(tensors: Mapping[str, Tensor]) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(file(tensors))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def as_original(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the names of facebookresearch/ConvNeXt, written independently of the reader's table."""
    renamed = {}
    for name, tensor in ours.items():
        part = name.split(".")
        if part[0] == "stem":
            new = f"downsample_layers.0.{part[1]}.{part[2]}"
        elif part[0] == "head":
            new = f"norm.{part[2]}" if part[1] == "norm" else f"head.{part[2]}"
        elif part[2] == "downsample":
            new = f"downsample_layers.{part[1]}.{part[3]}.{part[4]}"
        else:
            inner = ".".join(part[4:])
            for ours_part, theirs in [("conv_dw", "dwconv"), ("mlp.fc", "pwconv"), ("mlp.grn.weight", "grn.gamma")]:
                inner = inner.replace(ours_part, theirs)
            new = f"stages.{part[1]}.{part[3]}." + inner.replace("mlp.grn.bias", "grn.beta")
        renamed[new] = tensor.flatten(1) if "pwconv" in new and tensor.ndim == 4 else tensor
    return renamed


def as_mmpretrain(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Likewise for OpenMMLab, whose names are close to the original ones."""
    renamed = {}
    for name, tensor in as_original(ours).items():
        new = name.replace("dwconv", "depthwise_conv").replace("pwconv", "pointwise_conv")
        new = f"norm3.{name[5:]}" if name.startswith("norm.") else new
        renamed[f"head.fc.{name[5:]}" if name.startswith("head.") else f"backbone.{new}"] = tensor
    return renamed


@pytest.mark.parametrize("grn", [True, False])
@pytest.mark.parametrize(("layout", "rename"), [("original", as_original), ("mmpretrain", as_mmpretrain)])
def test_other_repositories_layouts_give_the_same_network(
    layout: str, rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]], grn: bool
) -> None:
    ours = weights(grn=grn)
    found = read_checkpoint(file(rename(ours)))
    assert found.layout == layout
    assert found.arch.grn is grn
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in ours.items())


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.model."])
def test_prefixes_of_wrappers_are_no_obstacle(prefix: str) -> None:
    assert read_checkpoint(file({prefix + name: t for name, t in weights().items()})).layout == "timm"


@pytest.mark.parametrize("name", ["convnextv2_femto", "convnext_atto_ols", "convnext_nano_ols", "test_convnext3"])
def test_a_fine_tuned_variant_is_recognized_with_its_37_classes(name: str) -> None:
    tuned = initialize(ConvNeXt(VARIANTS[name], 37), seed=1)
    found = read_checkpoint(file(tuned.state_dict()))
    assert (found.arch, found.num_classes) == (VARIANTS[name], 37)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(build(found)(x), tuned(x))


def test_a_shape_nobody_published_is_custom_with_gelu_and_usual_epsilons() -> None:
    found = read_checkpoint(file(weights(kernel_sizes=(3, 5, 7, 9))))
    assert found.arch == replace(SMALL, name="convnextv2_custom", kernel_sizes=(3, 5, 7, 9))


def test_the_test_networks_odd_settings_belong_to_timm_s_layout_alone() -> None:
    """Other code cannot express them: the same shape in its layout is a plain V1."""
    plain = read_checkpoint(file(as_original(ConvNeXt(VARIANTS["test_convnext2"], 10).state_dict())))
    assert (plain.arch.name, plain.arch.act, plain.arch.norm_eps) == ("convnext_custom", "gelu", 1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype) -> None:
    found = read_checkpoint(file({name: t.to(dtype) for name, t in weights().items()}))
    assert {t.dtype for t in found.tensors.values()} == {torch.float32}


def test_a_backbone_without_classifier_has_no_classes() -> None:
    found = read_checkpoint(file({name: t for name, t in weights().items() if "head.fc" not in name}))
    assert found.num_classes == 0
    assert build(found).head.fc is None


def test_a_masked_autoencoder_s_missing_last_norm_is_filled_in_and_told() -> None:
    found = read_checkpoint(file({name: t for name, t in weights().items() if not name.startswith("head")}))
    assert any("ends before the last LayerNorm" in note for note in found.notes)
    assert torch.equal(found.tensors["head.norm.weight"], torch.ones(32))


def test_a_v1_trained_without_layer_scale_has_a_scale_of_one() -> None:
    found = read_checkpoint(file({name: t for name, t in weights(grn=False).items() if not name.endswith("gamma")}))
    assert torch.equal(found.tensors["stages.2.blocks.1.gamma"], torch.ones(24))


def test_the_named_variant_must_be_the_one_in_the_file() -> None:
    with pytest.raises(CheckpointError, match=r"holds convnextv2_custom .*not convnextv2_femto"):
        read_checkpoint(file(weights()), variant=VARIANTS["convnextv2_femto"])


def test_missing_unexpected_and_misshapen_tensors_are_named() -> None:
    tensors = weights()
    del tensors["stages.2.blocks.1.norm.bias"]
    tensors["stages.2.attention.weight"] = torch.ones(3)
    tensors["head.fc.weight"] = torch.ones(10, 33)
    message = refused(tensors)
    assert "1 missing: stages.2.blocks.1.norm.bias" in message
    assert "1 unexpected: stages.2.attention.weight" in message
    assert "1 misshapen: head.fc.weight is [10, 33] and should be [10, 32]" in message


def test_misfits_are_named_as_the_file_names_them_and_counted_beyond_three() -> None:
    tensors = as_original(weights())
    for i in range(5):
        tensors[f"decoder.{i}.weight"] = torch.ones(1)
    tensors["stages.0.0.pwconv1.bias"] = torch.ones(7)
    message = refused(tensors)
    assert "5 unexpected: decoder.0.weight, decoder.1.weight, decoder.2.weight and 2 more" in message
    assert "stages.0.0.pwconv1.bias is [7] and should be [32]" in message


def test_a_missing_block_is_missing_not_a_shallower_network() -> None:
    tensors = {name: t for name, t in weights().items() if not name.startswith("stages.2.blocks.0.")}
    assert "10 missing: stages.2.blocks.0.conv_dw.weight" in refused(tensors)


BREAKS = {
    "NaN or infinity in 1 tensors: head.fc.bias": {"head.fc.bias": torch.full((10,), float("nan"))},
    "NaN or infinity in 1 tensors: stem.0.bias": {"stem.0.bias": torch.full((8,), 1e300, dtype=torch.float64)},
    "floating point, which head.fc.weight": {"head.fc.weight": torch.ones(10, 32, dtype=torch.int8)},
    "pictures of 1 channels": {"stem.0.weight": torch.ones(8, 1, 4, 4)},
    "stem.0.weight is [8, 3, 2, 2] and should be": {"stem.0.weight": torch.ones(8, 3, 2, 2)},
    "are odd": {"stages.1.blocks.0.conv_dw.weight": torch.ones(16, 1, 4, 4)},
    "tensors without elements": {"stages.3.blocks.0.conv_dw.weight": torch.ones(0, 1, 7, 7)},
    "no ConvNeXt is that deep": {"stages.0.blocks.999.gamma": torch.ones(8)},
    "2 unexpected: head.fc.weight, head.fc.bias": {"head.fc.weight": torch.tensor(1.0)},
}


@pytest.mark.parametrize("message", BREAKS)
def test_tensors_no_network_can_use_are_refused(message: str) -> None:
    assert message in refused({**weights(), **BREAKS[message]})


def test_another_family_s_checkpoint_is_told_what_was_looked_for() -> None:
    resnet = {"conv1.weight": torch.ones(64, 3, 7, 7), "layer1.0.conv1.weight": torch.ones(64, 64, 1, 1)}
    message = refused(resnet)
    assert "no ConvNeXt in the layout of timm, transformers, mmpretrain or the original repository" in message
    assert "conv1.weight, layer1.0.conv1.weight" in message


def test_the_same_tensor_under_two_names_is_refused() -> None:
    assert "twice" in refused(
        {"convnextv2.layernorm.weight": torch.ones(1), "layernorm.weight": torch.ones(1)}
        | {"convnextv2.encoder.stages.0.layers.0.dwconv.weight": torch.ones(1)}
    )
