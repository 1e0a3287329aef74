"""Folders that transformers saved compute here what transformers computes, with its labels and its preprocessing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import assert_close, relative_error

from edgecvx.errors import CheckpointError
from edgecvx.models.configs import read_configs
from edgecvx.models.convnext import ConvNeXt
from edgecvx.models.load import LoadedModel, load_model

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-5
WHY = "float32 sums in another order: 8e-7 seen; the mistakes below move the logits by 3e-5 and more"
SHAPE = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
CLASSES = {
    "v2": ("ConvNextV2Config", "ConvNextV2ForImageClassification"),
    "v1": ("ConvNextConfig", "ConvNextForImageClassification"),
}


def saved(folder: Path, kind: str, **config: Any) -> Any:
    """A network of transformers in which everything counts, GRN included, saved the way its users save theirs."""
    config_class, model_class = (getattr(transformers, name) for name in CLASSES[kind])
    torch.manual_seed(0)
    model = model_class(config_class(**{**SHAPE, "num_labels": 5, **config})).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            # Weak features in the last stage bring the head's LayerNorm to where its epsilon matters.
            p.copy_(torch.randn_like(p) * (0.02 if ".stages.3." in name else 0.3))
    model.save_pretrained(folder)
    return model


def pictures() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def logits(model: Any) -> np.ndarray:
    found = model(pictures())
    return np.asarray(found if isinstance(found, torch.Tensor) else found.logits)


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "silu"])
@pytest.mark.parametrize("kind", CLASSES)
def test_a_saved_folder_computes_the_same_logits(tmp_path: Path, kind: str, act: str) -> None:
    theirs = saved(tmp_path / "flowers", kind, hidden_act=act)
    ours = load_model(tmp_path / "flowers")
    assert_close(logits(ours.module), logits(theirs), TOLERANCE, why=WHY)
    assert ours.spec.weights.layout == "transformers"
    assert ours.spec.name == f"convnext{'v2' if kind == 'v2' else ''}_custom.flowers"


def changed(loaded: LoadedModel, **arch: Any) -> ConvNeXt:
    other = ConvNeXt(replace(loaded.spec.arch, **arch), loaded.spec.num_classes)
    other.load_state_dict(loaded.module.state_dict())
    return other.eval()


@pytest.mark.parametrize("mistake", [{"act": "gelu_tanh"}, {"norm_eps": 1e-5}, {"head_norm_eps": 1e-6}])
def test_a_network_wrong_in_one_detail_is_told_apart(tmp_path: Path, mistake: dict[str, Any]) -> None:
    theirs = saved(tmp_path, "v2")
    wrong = changed(load_model(tmp_path), **mistake)
    assert relative_error(logits(wrong), logits(theirs)) > 2 * TOLERANCE


def test_the_last_epsilon_is_transformers_own(tmp_path: Path) -> None:
    saved(tmp_path / "usual", "v2")
    saved(tmp_path / "other", "v2", layer_norm_eps=1e-3)
    assert load_model(tmp_path / "usual").spec.arch.head_norm_eps == 1e-12
    assert load_model(tmp_path / "other").spec.arch.head_norm_eps == 1e-3


def test_labels_come_from_the_config_and_placeholders_do_not(tmp_path: Path) -> None:
    saved(tmp_path / "named", "v2", id2label={0: "rose", 1: "tulip", 2: "lily"}, num_labels=3)
    saved(tmp_path / "unnamed", "v2")
    assert load_model(tmp_path / "named").spec.labels == ("rose", "tulip", "lily")
    assert load_model(tmp_path / "unnamed").spec.labels is None


@pytest.mark.parametrize("edge", [224, 384])
def test_the_image_processor_is_understood_as_transformers_saves_it(tmp_path: Path, edge: int) -> None:
    saved(tmp_path, "v2")
    # Newer versions keep the one that needs no torchvision under a name of its own.
    processor_class = getattr(transformers, "ConvNextImageProcessorPil", None) or transformers.ConvNextImageProcessor
    processor_class(size={"shortest_edge": edge}, crop_pct=0.9).save_pretrained(tmp_path)
    spec = load_model(tmp_path).spec.preprocess
    assert (spec.size, spec.resize) == (edge, "shortest" if edge == 224 else "squash")
    assert (spec.crop_pct, spec.interpolation) == (0.9 if edge == 224 else 1.0, "bicubic")


def processor(folder: Path, **settings: Any) -> Path:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({"image_processor_type": "ConvNextImageProcessor", **settings}))
    return path


@pytest.mark.parametrize("size", [224, {"shortest_edge": 224}])
def test_below_384_the_shorter_side_is_resized_and_the_centre_cropped(tmp_path: Path, size: object) -> None:
    path = processor(tmp_path, size=size, crop_pct=0.9, resample=2, image_mean=[0.1, 0.2, 0.3], image_std=[1, 1, 2])
    spec = read_configs("transformers", None, path, None).preprocess
    assert spec is not None
    assert (spec.size, spec.crop_pct, spec.resize, spec.interpolation) == (224, 0.9, "shortest", "bilinear")
    assert (spec.mean, spec.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 2.0))


def test_from_384_on_the_picture_is_squashed(tmp_path: Path) -> None:
    path = processor(tmp_path, size={"shortest_edge": 384}, crop_pct=0.875)
    large = read_configs("transformers", None, path, None).preprocess
    small = read_configs("transformers", None, path, 224).preprocess
    assert large is not None
    assert small is not None
    assert (large.resize, large.crop_pct) == ("squash", 1.0)
    assert (small.resize, small.crop_pct, small.size) == ("shortest", 0.875, 224)


def test_without_a_processor_the_preprocessing_is_assumed_and_told(tmp_path: Path) -> None:
    saved(tmp_path, "v2")
    assert any("does not say how its pictures were prepared" in warning for warning in load_model(tmp_path).warnings)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"image_processor_type": "ViTImageProcessor"}, "only transformers' ConvNextImageProcessor"),
        ({"do_resize": False}, "switches resizing"),
        ({"rescale_factor": 1.0}, "rescale_factor must be 1/255"),
        ({"size": {"height": 224}}, "size must be a number"),
        ({"size": 224, "resample": 9}, "make no sense"),
        ({"size": 224, "image_mean": [0.5]}, "make no sense"),
    ],
)
def test_preparation_that_cannot_be_reproduced_is_refused(tmp_path: Path, settings: dict[str, Any], hint: str) -> None:
    with pytest.raises(CheckpointError, match=hint):
        read_configs("transformers", None, processor(tmp_path, **settings), None)


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"model_type": "resnet"}, "describes a 'resnet' model"),
        ({"hidden_act": "relu"}, "activation 'relu'"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps must be"),
        ({"id2label": {"0": "rose"}}, "names 1 classes, model.safetensors has 5"),
    ],
)
def test_a_config_that_does_not_go_with_the_weights_is_refused(
    tmp_path: Path, change: dict[str, Any], hint: str
) -> None:
    saved(tmp_path, "v2")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=hint):
        load_model(tmp_path)


def test_weights_without_their_config_load_with_a_warning(tmp_path: Path) -> None:
    theirs = saved(tmp_path, "v2")
    (tmp_path / "config.json").unlink()
    ours = load_model(tmp_path / "model.safetensors")
    assert any("without its config.json" in warning for warning in ours.warnings)
    assert_close(logits(ours.module), logits(theirs), TOLERANCE, why=WHY)


def test_a_backbone_alone_is_a_network_without_classes(tmp_path: Path) -> None:
    saved(tmp_path, "v2").convnextv2.save_pretrained(tmp_path / "backbone")
    assert load_model(tmp_path / "backbone").spec.num_classes == 0
