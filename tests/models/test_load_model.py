"""The one way in: what a user may call a model, and which weights that means, with nothing replaced in silence."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support import network

from edgecvx.errors import CheckpointError, EdgecvxError, UsageError
from edgecvx.models import load
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.models.hub import HubUnavailableError
from edgecvx.models.load import demo_variants, load_model
from edgecvx.models.variants import VARIANTS
from edgecvx.spec import PreprocessSpec, to_json

# No test here may reach the hub: the suite runs with HF_HUB_OFFLINE and an empty cache.


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A femto fine-tuned to 37 classes, as timm's training script leaves it."""
    path = tmp_path_factory.mktemp("runs") / "pets best.pth.tar"
    torch.save({"state_dict": initialize(ConvNeXt(VARIANTS["convnextv2_femto"], 37), 5).state_dict(), "epoch": 9}, path)
    return path


def test_a_fine_tuned_file_needs_no_flags(tuned: Path) -> None:
    loaded = load_model(str(tuned))
    assert loaded.spec.name == "convnextv2_femto.pets_best_pth"
    assert loaded.spec.num_classes == 37
    assert (loaded.spec.weights.kind, loaded.spec.weights.ref) == ("file", "pets best.pth.tar")
    assert loaded.spec.weights.sha256 == hashlib.sha256(tuned.read_bytes()).hexdigest()
    assert loaded.spec.weights.license is None
    assert "took 'state_dict', not epoch" in loaded.warnings[0]
    assert "took that of convnextv2_femto.fcmae_ft_in1k: 224 px" in loaded.warnings[1]
    assert not loaded.module.training
    assert {p.dtype for p in loaded.module.parameters()} == {torch.float32}


def test_a_name_can_be_given_a_file_and_the_file_must_be_of_that_name(tuned: Path) -> None:
    assert load_model("femto", weights=str(tuned)).spec.num_classes == 37
    with pytest.raises(CheckpointError, match="holds convnextv2_femto, not convnextv2_atto"):
        load_model("atto", weights=str(tuned))


def test_a_tag_with_a_file_lends_its_preprocessing(tmp_path: Path) -> None:
    model = initialize(ConvNeXt(VARIANTS["convnext_nano"], 12), 0)
    safetensors.torch.save_file(dict(model.state_dict()), tmp_path / "mine.safetensors")
    spec = load_model("convnext_nano.r384_in12k", weights=str(tmp_path / "mine.safetensors")).spec
    assert (spec.name, spec.preprocess.size, spec.weights.kind) == ("convnext_nano.mine", 384, "file")


def test_no_folder_of_this_machine_gets_into_the_description(tuned: Path) -> None:
    loaded = load_model(tuned)
    assert str(tuned.parent) not in json.dumps(to_json(loaded.spec)) + " ".join(loaded.warnings)


def test_labels_are_taken_and_counted(tuned: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"breed {i}" for i in range(37)))
    assert load_model(tuned, labels=labels).spec.labels == tuple(f"breed {i}" for i in range(37))
    labels.write_text("cat\ndog\n")
    with pytest.raises(UsageError, match="names 2 classes, the network has 37"):
        load_model(tuned, labels=labels)


def test_a_folder_that_timm_saved_brings_labels_and_preprocessing(tmp_path: Path) -> None:
    model = initialize(ConvNeXt(VARIANTS["test_convnext2"], 3), 0)
    safetensors.torch.save_file(dict(model.state_dict()), tmp_path / "model.safetensors")
    trained = {"input_size": [3, 192, 192], "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bilinear"}
    trained |= {"mean": [0.5] * 3, "std": [0.25] * 3, "test_input_size": [3, 256, 256], "test_crop_pct": 0.9}
    config = {"architecture": "test_convnext2", "label_names": ["a", "b", "c"], "pretrained_cfg": trained}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_model(tmp_path)
    expected = PreprocessSpec(
        size=192, crop_pct=1.0, resize="squash", interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
    )
    assert (loaded.spec.labels, loaded.spec.preprocess, loaded.warnings) == (("a", "b", "c"), expected, ())
    assert load_model(tmp_path, image_size=256).spec.preprocess.crop_pct == 0.9


@pytest.mark.parametrize("change", [{"crop_mode": "border"}, {"interpolation": "random"}, {"mean": None}])
def test_preparation_of_timm_that_cannot_be_reproduced_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    safetensors.torch.save_file(dict(network().state_dict()), tmp_path / "model.safetensors")
    trained = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3} | change
    config = {"architecture": "convnextv2_small", "pretrained_cfg": trained}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(tmp_path)


def test_random_weights_are_seeded_and_hashed() -> None:
    one, same, other = (load_model("atto", weights="random", seed=seed) for seed in (1, 1, 2))
    assert one.spec == same.spec
    assert one.spec.weights.sha256 != other.spec.weights.sha256
    assert (one.spec.tag, one.spec.num_classes, one.spec.weights.license) == ("random", 1000, None)


def test_an_image_size_is_checked_and_kept() -> None:
    assert load_model("atto", weights="random", image_size=384).spec.preprocess.size == 384
    with pytest.raises(UsageError, match="multiple of 32"):
        load_model("atto", weights="random", image_size=300)


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Demo weights for atto alone, in the form in which the package ships them."""
    path = tmp_path / "convnextv2_atto.demo.safetensors"
    tensors = {k: t.half() for k, t in initialize(ConvNeXt(VARIANTS["convnextv2_atto"], 3), 0).state_dict().items()}
    facts = {"classes": json.dumps(["disc", "ring", "cross"]), "license": "Apache-2.0"}
    facts["preprocess"] = json.dumps(to_json(PreprocessSpec(size=224, crop_pct=1.0)))
    safetensors.torch.save_file(tensors, path, metadata=facts)
    monkeypatch.setattr(load, "demo_file", lambda variant: tmp_path / f"{variant}.demo.safetensors")
    return path


def test_demo_weights_bring_their_classes_and_preprocessing(demo: Path) -> None:
    loaded = load_model("atto", weights="demo")
    assert loaded.spec.name == "convnextv2_atto.demo"
    assert loaded.spec.labels == ("disc", "ring", "cross")
    assert (loaded.spec.preprocess.crop_pct, loaded.spec.weights.license) == (1.0, "apache-2.0")
    assert loaded.warnings == ()


def test_auto_falls_to_demo_without_a_hub_and_says_so(demo: Path) -> None:
    loaded = load_model("atto")
    assert loaded.spec.tag == "demo"
    assert loaded.warnings[0].startswith("NOT THE IMAGENET WEIGHTS")


def test_what_was_asked_for_by_name_is_never_replaced(demo: Path) -> None:
    for model, weights in [("atto", "imagenet"), ("convnextv2_atto.fcmae_ft_in1k", "auto")]:
        with pytest.raises(HubUnavailableError):
            load_model(model, weights=weights)


def test_a_variant_without_demo_weights_says_which_have_them(demo: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there are: convnextv2_atto\): try --weights random"):
        load_model("nano", weights="demo")
    with pytest.raises(HubUnavailableError, match="--weights random"):
        load_model("nano")


def test_without_the_demo_weights_one_is_told_what_brings_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "demo_file", lambda variant: tmp_path / variant)
    with pytest.raises(CheckpointError, match=r"not installed: pip install 'edgecvx\[demo\]'"):
        load_model("atto", weights="demo")
    with pytest.raises(HubUnavailableError, match=r"edgecvx\[demo\]"):
        load_model("atto")


def test_the_shipped_demo_weights_load() -> None:
    assert demo_variants() == ("convnextv2_atto", "convnextv2_femto")
    for name in demo_variants():
        loaded = load_model(name, weights="demo")
        assert loaded.spec.labels is not None
        assert len(loaded.spec.labels) == loaded.spec.num_classes


@pytest.mark.parametrize(
    ("model", "weights", "hint"),
    [
        ("femtoo", "auto", "did you mean femto"),
        ("", "auto", "unknown model ''"),
        ("x" * 5000, "auto", "unknown model"),
        ("timm/resnet50", "auto", "unknown model 'timm/resnet50'"),
        ("facebook/convnext-tiny-224", "auto", "no file or folder facebook/convnext-tiny-224"),
        ("absent.pth", "auto", "no file or folder absent.pth"),
        ("femto", "imagnet", "did you mean imagenet"),
        ("femto", "absent.pth", "no file or folder absent.pth"),
        ("convnextv2_femto.fcmae_ft_in1k", "random", "for --weights random write convnextv2_femto alone"),
        ("facebook/convnextv2-atto-1k-224", "random", "leave --weights random out"),
    ],
)
def test_requests_that_make_no_sense_are_answered_in_one_line(model: str, weights: str, hint: str) -> None:
    with pytest.raises(EdgecvxError, match=hint) as caught:
        load_model(model, weights=weights)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_takes_no_other_weights(tuned: Path) -> None:
    with pytest.raises(UsageError, match="already holds the weights"):
        load_model(tuned, weights="random")


def test_a_folder_without_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds neither model\.safetensors nor pytorch_model\.bin"):
        load_model(tmp_path)


def test_a_known_name_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "atto").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model("atto", weights="random").spec.tag == "random"
    with pytest.raises(CheckpointError, match="folder atto"):
        load_model("./atto")


def test_no_name_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--weights "$UNSET"``: the empty path is the working directory, whatever weights lie in it."""
    safetensors.torch.save_file(
        initialize(ConvNeXt(VARIANTS["convnextv2_atto"], 3), 0).state_dict(), tmp_path / "model.safetensors"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="unknown weights ''"):
        load_model("atto", weights="")


def test_a_file_name_of_any_bytes_has_a_reference_that_can_be_written(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/wei\xffrd.safetensors"))
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    path.write_bytes(safetensors.torch.save(network().state_dict()))
    assert load_model(path).spec.weights.ref == "wei?rd.safetensors"
