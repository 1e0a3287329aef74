from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.models.convnext import ConvNeXt
from edgecvx.models.variants import TAGS, VARIANTS, default_tag, preprocess_for, resolve_name

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("convnextv2")])
def test_v2_has_exactly_the_tensors_of_timm(name: str) -> None:
    expected = json.loads((GOLDEN / "timm_keys.json").read_text())[name]
    with torch.device("meta"):
        ours = {key: list(t.shape) for key, t in ConvNeXt(VARIANTS[name], 1000).state_dict().items()}
    assert ours == expected


def test_every_tag_of_the_table_is_known_with_all_that_timm_says_about_it() -> None:
    table = json.loads((GOLDEN / "timm_tags.json").read_text())
    assert set(TAGS) == set(table)
    for name, row in table.items():
        tag, spec = TAGS[name], TAGS[name].preprocess
        assert (tag.name, tag.hub_id, tag.license) == (name, row["hf_hub_id"], row["license"])
        assert tag.num_classes == row["num_classes"]
        assert [3, spec.size, spec.size] == row["input_size"]
        assert (spec.crop_pct, spec.interpolation) == (row["crop_pct"], row["interpolation"])
        assert (list(spec.mean), list(spec.std)) == (row["mean"], row["std"])
        assert tag.test_crop_pct == row["test_crop_pct"]
        assert tag.test_size == (row["test_input_size"] or [None])[-1]


def test_every_variant_has_published_weights_and_a_default_among_them() -> None:
    assert {tag.variant for tag in TAGS.values()} == set(VARIANTS)
    assert all(default_tag(name).num_classes == 1000 for name in VARIANTS)


@pytest.mark.parametrize("name", ["femto", "convnextv2_femto", "timm/convnextv2_femto"])
def test_a_variant_means_its_default_tag(name: str) -> None:
    found = resolve_name(name)
    assert (found.arch.name, found.tag.name, found.explicit) == (
        "convnextv2_femto",
        "convnextv2_femto.fcmae_ft_in1k",
        False,
    )


def test_a_tag_means_itself() -> None:
    found = resolve_name("nano.fcmae_ft_in22k_in1k_384")
    assert found.explicit
    assert found.tag.hub_id == "timm/convnextv2_nano.fcmae_ft_in22k_in1k_384"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("femtoo", "did you mean femto"),
        ("resnet50", "known: atto, femto"),
        ("convnextv2_femto.fcmae_in1k", "did you mean fcmae_ft_in1k"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_known_ones(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        resolve_name(name)


def test_the_test_size_brings_its_own_crop_and_no_other_size_does() -> None:
    tag = TAGS["convnextv2_femto.fcmae_ft_in1k"]
    assert (preprocess_for(tag).size, preprocess_for(tag).crop_pct) == (224, 0.875)
    assert preprocess_for(tag, 288).crop_pct == 0.95
    assert preprocess_for(tag, 320).crop_pct == 0.875


def test_the_384_checkpoint_of_v2_squashes_the_picture() -> None:
    assert preprocess_for(TAGS["convnextv2_nano.fcmae_ft_in22k_in1k_384"]).resize == "squash"
    assert preprocess_for(TAGS["convnext_nano.r384_in12k_ft_in1k"]).resize == "shortest"


def test_a_size_the_network_cannot_take_is_refused() -> None:
    with pytest.raises(EdgecvxError, match="multiple of 32"):
        preprocess_for(TAGS["convnextv2_femto.fcmae_ft_in1k"], 225)


def test_names_can_be_listed_without_loading_a_framework() -> None:
    code = "import sys, edgecvx.models.variants; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
