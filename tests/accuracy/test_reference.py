"""The reference is the network the artifact came from, or there is none."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import support
import torch
from proofs import a_proof

from edgecvx.accuracy.reference import Reference, rebuild
from edgecvx.data import demo
from edgecvx.data.dataset import open_data
from edgecvx.data.preprocess import normalize
from edgecvx.errors import CheckpointError, EdgecvxError
from edgecvx.manifest import Manifest
from edgecvx.models.load import LoadedModel, load_model
from edgecvx.spec import ModelSpec, PreprocessSpec, Task


def manifest(exported: Any, spec: ModelSpec) -> Manifest:
    (logits,) = exported.manifest.outputs
    outputs = (dataclasses.replace(logits, shape=(1, spec.num_classes)),)
    proof = a_proof(outputs, "onnxruntime")
    changed: Manifest = dataclasses.replace(exported.manifest, model=spec, outputs=outputs, proof=proof)
    return changed


def test_random_weights_are_drawn_again_from_their_seed(small_classifier: Any) -> None:
    loaded = load_model("test_convnext2", weights="random", image_size=64, seed=3)
    again = rebuild(manifest(small_classifier, loaded.spec))
    x = torch.from_numpy(support.probe(2, 64))
    with torch.inference_mode():
        assert torch.equal(again.module(x), loaded.module(x))


def test_its_preprocessing_is_not_the_manifest_s_to_change(small_classifier: Any) -> None:
    spec = load_model("test_convnext2", weights="random", image_size=64).spec
    changed = dataclasses.replace(spec, preprocess=dataclasses.replace(spec.preprocess, interpolation="nearest"))
    assert rebuild(manifest(small_classifier, changed)).spec.preprocess == spec.preprocess


def test_weights_that_have_changed_since_are_refused(small_classifier: Any) -> None:
    spec = load_model("test_convnext2", weights="random", image_size=64).spec
    other = dataclasses.replace(spec, weights=dataclasses.replace(spec.weights, sha256="0" * 64))
    with pytest.raises(CheckpointError, match="not those of this artifact any more"):
        rebuild(manifest(small_classifier, other))


def test_the_weights_may_lie_in_a_folder_and_keep_what_a_file_cannot_say(small_classifier: Any, tmp_path: Path) -> None:
    """Activation and epsilons leave no trace in tensors; the manifest has them."""
    shutil.copy(small_classifier.checkpoint, tmp_path / "model.safetensors")
    arch = dataclasses.replace(small_classifier.manifest.model.arch, act="silu", norm_eps=1e-5)
    spec = dataclasses.replace(small_classifier.manifest.model, arch=arch)
    assert rebuild(manifest(small_classifier, spec), [tmp_path]).module.arch == arch


@pytest.fixture
def loaded(small_classifier: Any) -> LoadedModel:
    return rebuild(small_classifier.manifest, [small_classifier.checkpoint])


def reference(loaded: LoadedModel, cache: Path, **options: Any) -> Reference:
    return Reference(loaded, **{"task": Task.CLASSIFY, "cache": cache, "batch": 4, "threads": 1, **options})


def pixels(spec: PreprocessSpec, count: int) -> tuple[Any, Any]:
    samples = open_data("demo", num_classes=0, limit=count).samples
    return samples, np.stack([sample.pixels(spec) for sample in samples])


def test_answers_are_the_network_s_and_are_remembered(loaded: LoadedModel, tmp_path: Path) -> None:
    samples, seen = pixels(loaded.spec.preprocess, 6)
    images = np.stack([normalize(p, loaded.spec.preprocess) for p in seen]).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        expected = loaded.module(torch.from_numpy(np.ascontiguousarray(images))).numpy()
    first = reference(loaded, tmp_path)
    # Batches of 4 and of 6 are summed in another order: float32's rounding.
    support.assert_close(first.answer(samples, seen)[0], expected, 1e-5, why="the order of a sum")
    second = reference(loaded, tmp_path)
    np.testing.assert_array_equal(second.answer(samples[::-1], seen[::-1])[0], first.answer(samples, seen)[0][::-1])
    assert (first.computed, second.computed) == (6, 0)


def test_feature_maps_are_too_large_to_remember(loaded: LoadedModel, tmp_path: Path) -> None:
    samples, seen = pixels(loaded.spec.preprocess, 2)
    maps = reference(loaded, tmp_path, task=Task.FEATURES)
    big = [output.shape for output in maps.answer(samples, seen)]
    assert big == [(2, 8, 16, 16), (2, 16, 8, 8), (2, 24, 4, 4), (2, 32, 2, 2)]
    assert maps.computed == 2


def test_another_way_of_preparing_is_another_memory(loaded: LoadedModel, tmp_path: Path) -> None:
    samples, seen = pixels(loaded.spec.preprocess, 2)
    reference(loaded, tmp_path).answer(samples, seen)
    spec = dataclasses.replace(loaded.spec.preprocess, interpolation="bilinear")
    other = reference(dataclasses.replace(loaded, spec=dataclasses.replace(loaded.spec, preprocess=spec)), tmp_path)
    other.answer(samples, seen)
    assert other.computed == 2


def test_a_reference_that_gives_no_numbers_is_told(loaded: LoadedModel, tmp_path: Path) -> None:
    samples, seen = pixels(loaded.spec.preprocess, 1)
    assert loaded.module.head.fc is not None
    loaded.module.head.fc.bias.data[0] = float("nan")
    with pytest.raises(EdgecvxError, match="itself gives NaN"):
        reference(loaded, tmp_path).answer(samples, seen)


def test_demo_pictures_are_those_of_the_validation_stream() -> None:
    (sample,) = open_data("demo", num_classes=0, limit=1).samples
    drawn = sample.pixels(PreprocessSpec(size=64, crop_pct=1.0))
    assert (drawn == demo.picture(0, stream="validation", size=64)[0]).all()
