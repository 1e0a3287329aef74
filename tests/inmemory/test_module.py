"""A module in memory is taken with all that its library knows of it, and left as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from modules_in_memory import LABELS, PRETRAINED_CFG, TimmConvNeXt, of_transformers, processor
from support import SMALL, assert_close, network
from torch import nn

from edgecvx.errors import CheckpointError, EdgecvxError, UsageError
from edgecvx.inmemory.given import load_given
from edgecvx.inmemory.module import load_module
from edgecvx.models.convnext import ConvNeXt
from edgecvx.spec import PreprocessSpec

SIZE = PreprocessSpec(size=64)


@pytest.mark.parametrize("version", [1, 2])
def test_transformers_module_brings_its_labels_and_its_processor_the_preprocessing(version: int) -> None:
    pytest.importorskip("transformers")
    model = of_transformers(version, hidden_act="gelu_new", layer_norm_eps=1e-3)
    loaded = load_module(model, preprocess=processor(image_mean=[0.1, 0.2, 0.3], crop_pct=0.9))
    assert loaded.spec.labels == LABELS
    assert (loaded.spec.arch.act, loaded.spec.arch.head_norm_eps) == ("gelu_tanh", 1e-3)
    assert (loaded.spec.preprocess.size, loaded.spec.preprocess.crop_pct) == (64, 0.9)
    assert loaded.spec.preprocess.mean == (0.1, 0.2, 0.3)
    kind = "ConvNextV2" if version == 2 else "ConvNext"
    assert loaded.spec.weights.ref == f"transformers.{kind}ForImageClassification"
    assert not loaded.warnings


def test_a_module_without_a_processor_says_what_was_assumed() -> None:
    pytest.importorskip("transformers")
    (doubt,) = load_module(of_transformers(), image_size=64).warnings
    assert "does not say how its pictures were prepared; took ImageNet's usual: 64 px" in doubt


def test_timms_module_brings_all_of_it() -> None:
    spec = load_module(TimmConvNeXt()).spec
    assert spec.preprocess == PreprocessSpec(
        size=64, crop_pct=0.9, interpolation="bilinear", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
    )
    assert (spec.labels, spec.weights.license) == (LABELS, "cc-by-nc-4.0")


def test_the_licence_of_what_a_module_was_trained_from_is_told() -> None:
    (warning,) = load_module(TimmConvNeXt()).warnings
    assert "convnextv2_custom.fcmae_ft_in1k, which its configuration names, is cc-by-nc-4.0" in warning
    assert not load_module(TimmConvNeXt(license="apache-2.0")).warnings


def test_what_timm_resolves_for_a_module_is_a_preprocessing_too() -> None:
    resolved = {key: PRETRAINED_CFG[key] for key in ("input_size", "crop_pct", "interpolation", "mean", "std")}
    spec = load_module(network(), preprocess={**resolved, "input_size": (3, 96, 96)}).spec.preprocess
    assert (spec.size, spec.interpolation) == (96, "bilinear")


def test_our_own_module_keeps_what_its_tensors_do_not_tell() -> None:
    model = network(act="silu", norm_eps=1e-3)
    assert load_module(model, preprocess=SIZE).spec.arch == model.arch


def test_the_hash_is_of_the_values_whatever_holds_them() -> None:
    model, other = network(num_classes=3), network(num_classes=3, seed=1)
    found = [load_module(m, preprocess=SIZE).spec.weights.sha256 for m in (model, nn.DataParallel(model), other)]
    timm = TimmConvNeXt()
    timm.load_state_dict(model.state_dict())
    assert found[0] == found[1] == load_module(timm).spec.weights.sha256 != found[2]


@torch.inference_mode()
def test_a_module_is_left_as_it_was() -> None:
    model = network().to(torch.bfloat16).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loaded = load_module(model, preprocess=SIZE)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(not m.training for m in loaded.module.modules())
    x = torch.randn(1, 3, 64, 64)
    assert_close(loaded.module(x).numpy(), model.float().eval()(x).numpy(), 1e-6, why="its very weights, in float32")


def test_a_name_stands_in_the_names_of_files() -> None:
    assert load_module(network(), preprocess=SIZE).spec.tag == "module"
    assert load_module(network(), preprocess=SIZE, name="flowers 2").spec.tag == "flowers_2"
    with pytest.raises(UsageError, match="cannot stand in a file's name"):
        load_module(network(), preprocess=SIZE, name="//")


def test_labels_of_a_classifier_that_was_replaced_are_not_kept() -> None:
    pytest.importorskip("transformers")
    model = of_transformers()
    model.classifier = nn.Linear(32, 5)
    loaded = load_module(model, preprocess=SIZE)
    assert loaded.spec.labels is None
    assert "names 3 classes and its classifier has 5" in loaded.warnings[0]
    named = load_module(model, preprocess=SIZE, labels={0: "a", 1: "b", 2: "c", 3: "d", 4: "e"})
    assert (named.spec.labels, named.warnings) == (("a", "b", "c", "d", "e"), ())


def meta() -> nn.Module:
    with torch.device("meta"):
        return ConvNeXt(SMALL, 3)


def infinite() -> nn.Module:
    model = network()
    with torch.no_grad():
        next(model.parameters())[0, 0, 0, 0] = float("inf")
    return model


REFUSED: dict[str, tuple[Any, str]] = {
    "a number": (42, "a model is not a int: give a name, a checkpoint file, or a ConvNeXt V1 or V2 of timm"),
    "a state dict": (network().state_dict(), "a model is not a OrderedDict"),
    "another network": (nn.Linear(2, 2), r"torch.Linear is not a ConvNeXt .*: its tensors are called weight, bias"),
    "one layer more": (nn.ModuleDict({"0": network(), "1": nn.Linear(2, 2)}), "torch.ModuleDict is not a ConvNeXt"),
    "no values": (meta(), "has tensors without values"),
    "infinite weights": (infinite(), "holds NaN or infinity in 1 tensors: stem.0.weight"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_told_in_a_sentence(case: str) -> None:
    model, sentence = REFUSED[case]
    with pytest.raises(EdgecvxError, match=sentence) as refusal:
        load_given(model)
    assert "\n" not in str(refusal.value)


def test_a_transformer_is_told_to_be_none() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    with pytest.raises(CheckpointError, match="its config describes a 'vit' model"):
        load_module(transformers.ViTForImageClassification(config))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"preprocess": object()}, "preprocess=object does not say how pictures are prepared"),
        ({"preprocess": {"image_processor_type": "ViTImageProcessor"}}, "is for a ViTImageProcessor"),
        ({"preprocess": {"input_size": 224}}, "make no sense"),
        ({"labels": ["a", "b"]}, "labels names 2 classes, the network has 24"),
        ({"labels": 7}, "labels are a file, a list of names or a table"),
        ({"weights": "demo"}, "already holds its weights"),
        ({"image_size": 65}, "image size 65"),
    ],
)
def test_what_does_not_go_with_a_module_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EdgecvxError, match=sentence):
        load_given(network(num_classes=24), **{"preprocess": SIZE, **options})


def test_names_and_files_take_no_name_and_names_no_preprocessing() -> None:
    with pytest.raises(UsageError, match="femto has a name already"):
        load_given("femto", name="mine")
    with pytest.raises(UsageError, match="atto brings its preprocessing"):
        load_given("atto", weights="demo", preprocess=SIZE)


def test_a_file_takes_a_preprocessing_and_assumes_none(tmp_path: Any) -> None:
    path = tmp_path / "mine.pth"
    torch.save(network().state_dict(), path)
    loaded = load_given(path, preprocess=PreprocessSpec(size=96, mean=(0.0, 0.0, 0.0)), labels=None)
    assert (loaded.spec.preprocess.size, loaded.spec.preprocess.mean, loaded.warnings) == (96, (0.0, 0.0, 0.0), ())
