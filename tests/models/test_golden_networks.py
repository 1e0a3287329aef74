"""Every known network computes what the library it comes from computes, and any other network does not.

The golden arrays were made in float32 by timm, mmpretrain and the original repository. Ours run in float64 here, so
that the only rounding left is the golden files' own, the same on every machine: at most 7.6e-7 of the largest value.
The subtlest mistake below moves the logits by 2.7e-6. The tolerance stands between the two.
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import assert_close, relative_error

from edgecvx.errors import CheckpointError
from edgecvx.models.checkpoints import Checkpoint, build, read_checkpoint
from edgecvx.models.variants import VARIANTS
from edgecvx.models.weightfile import read_weight_file

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
INDEX = json.loads((GOLDEN / "index.json").read_text())
TOLERANCE = 1e-6
WHY = "the golden files' float32 rounding is 7.6e-7, the smallest mistake tested below 2.7e-6"


@functools.cache
def checkpoint(name: str) -> Checkpoint:
    return read_checkpoint(read_weight_file(GOLDEN / f"{name}.safetensors"))


@functools.cache
def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


@torch.inference_mode()
def computed(found: Checkpoint, image: np.ndarray) -> dict[str, np.ndarray]:
    model, x = build(found).double(), torch.from_numpy(image).double()
    maps = {f"feature{i}": stage.numpy() for i, stage in enumerate(model.features(x))}
    return {"logits": model(x).numpy(), "embedding": model.embed(x).numpy(), **maps}


@pytest.mark.parametrize("name", INDEX)
def test_logits_features_and_embeddings_are_the_golden_ones(name: str) -> None:
    ours = computed(checkpoint(name), golden(name)["image"])
    for output, expected in golden(name).items():
        if output != "image":
            assert_close(ours[output], expected, TOLERANCE, why=f"{output}: {WHY}")


@pytest.mark.parametrize("name", INDEX)
def test_float32_is_well_within_the_published_bound(name: str) -> None:
    found = checkpoint(name)
    with torch.inference_mode():
        logits = build(found)(torch.from_numpy(golden(name)["image"]))
    assert_close(logits, golden(name)["logits"], 1e-5, why="float32 sums in another order: 4e-7 seen, 1e-4 promised")


def wrong(found: Checkpoint, part: str) -> Checkpoint:
    """The same weights in a network that is wrong in one detail the tensors do not show."""
    arch = found.arch
    other_eps = 1e-5 if arch.norm_eps == 1e-6 else 1e-6
    changes: dict[str, dict[str, Any]] = {
        "activation": {"act": "gelu_tanh" if arch.act == "gelu" else "gelu"},
        "epsilon": {"norm_eps": other_eps},
        "head epsilon": {"head_norm_eps": other_eps},
        "GRN epsilon": {"grn_eps": 1e-5},
    }
    return replace(found, arch=replace(arch, **changes[part]))


@pytest.mark.parametrize("part", ["activation", "epsilon", "head epsilon", "GRN epsilon"])
@pytest.mark.parametrize("name", INDEX)
def test_a_network_wrong_in_one_detail_is_told_apart(name: str, part: str) -> None:
    if part == "GRN epsilon" and not checkpoint(name).arch.grn:
        return  # V1 has no GRN to be wrong
    ours = computed(wrong(checkpoint(name), part), golden(name)["image"])
    assert relative_error(ours["logits"], golden(name)["logits"]) > 2 * TOLERANCE


@pytest.mark.parametrize(
    ("name", "kernels"),
    [("timm_test_convnext3", (7, 7, 7, 7)), ("timm_test_convnext2", (7, 5, 5, 3)), ("timm_small_v2", (7, 7, 5, 7))],
)
def test_wrong_kernel_sizes_do_not_take_the_weights(name: str, kernels: tuple[int, ...]) -> None:
    """Twins in everything but the kernels: only their names tell timm's second and third test network apart."""
    file = read_weight_file(GOLDEN / f"{name}.safetensors")
    claimed = replace(checkpoint(name).arch, name="another", kernel_sizes=kernels)
    with pytest.raises(CheckpointError, match="not another"):
        read_checkpoint(file, variant=claimed)


@pytest.mark.parametrize("name", [name for name, row in INDEX.items() if row.get("arch") in VARIANTS])
def test_a_known_network_is_recognized_by_its_tensors(name: str) -> None:
    assert checkpoint(name).arch == VARIANTS[INDEX[name]["arch"]]


@pytest.mark.parametrize("name", INDEX)
def test_layout_depths_widths_and_classes_are_read_from_the_tensors(name: str) -> None:
    row, found = INDEX[name], checkpoint(name)
    assert found.layout == {"fair": "original"}.get(row["layout"], row["layout"])
    assert found.num_classes == row["num_classes"]
    if "depths" in row:
        assert found.arch.depths == tuple(row["depths"])
        assert found.arch.dims == tuple(row["dims"])


def test_overlapping_stems_are_told_from_patch_stems() -> None:
    stems = {name: checkpoint(name).arch.stem for name in INDEX if "small_v1" in name}
    assert stems == {
        "timm_small_v1": "patch",
        "timm_small_v1_ols": "overlap",
        "timm_small_v1_ols_tiered": "overlap_tiered",
    }
