"""Each mistake of the input path is planted into a real artifact's way, and has to be called by its name."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from edgecvx.accuracy.inputpath import InputPath
from edgecvx.accuracy.reference import Reference, rebuild
from edgecvx.accuracy.validate import validate
from edgecvx.data import demo
from edgecvx.data.dataset import open_data
from edgecvx.data.preprocess import normalize
from edgecvx.results.accuracy import ArtifactOutcome
from edgecvx.spec import IMAGENET_MEAN, IMAGENET_STD, Task, from_json, to_json

Array = NDArray[Any]
MEAN, STD = (np.array(v, np.float32)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))


def outcome(exported: Any, cache: Path, **options: Any) -> ArtifactOutcome:
    options = {"data": "demo", "limit": 16, "threads": 1, **options}
    found = validate(exported.path, checkpoints=[exported.checkpoint], cache_dir=cache, **options)
    return found.artifacts[0]


def pixels(batch: Array) -> Array:
    """The bytes that were normalized, as a mistaken program has them."""
    return np.asarray(np.rint((batch * STD + MEAN) * 255))


PLANTED: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "BGR": ("colour-order", lambda x: (pixels(x)[:, ::-1] / 255 - MEAN) / STD),
    "BGR after normalizing": ("colour-order", lambda x: x[:, ::-1]),
    "only divided by 255": ("missing-normalization", lambda x: pixels(x) / 255),
    "bytes as floats": ("missing-normalization", pixels),
    "normalized without the 255": ("missing-normalization", lambda x: (pixels(x) - MEAN) / STD),
    "from -1 to 1": ("other-normalization", lambda x: pixels(x) / 127.5 - 1),
    "mean and std twice": ("double-normalization", lambda x: (x - MEAN) / STD),
    "everything twice": ("double-normalization", lambda x: (x / 255 - MEAN) / STD),
    "255 twice": ("double-normalization", lambda x: (pixels(x) / 255 / 255 - MEAN) / STD),
    "reshaped, not transposed": ("layout", lambda x: x.transpose(0, 2, 3, 1).reshape(x.shape)),
    "height and width swapped": ("layout", lambda x: x.transpose(0, 1, 3, 2)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_named_instead_of_measured(
    name: str, small_classifier: Any, wrap: Any, tmp_path: Path
) -> None:
    kind, mistaken = PLANTED[name]
    wrap(before=mistaken)
    found = outcome(small_classifier, tmp_path)
    assert [f.kind for f in found.findings] == [kind]
    assert found.verdict.kind == "fail" and found.verdict.reason == found.findings[0].sentence
    assert found.top1 is None and not found.outputs, "a number was printed that measures the mistake"
    (finding,) = found.findings
    assert from_json(ArtifactOutcome, json.loads(json.dumps(to_json(found), allow_nan=False))) == found
    # The mistake explains everything: what is left is the order of summation of two runtimes.
    assert finding.sqnr_as_is_db < 20 and (finding.sqnr_explained_db is None or finding.sqnr_explained_db > 80)


@pytest.mark.parametrize("name", ["BGR", "only divided by 255", "mean and std twice", "reshaped, not transposed"])
def test_it_is_still_named_through_the_noise_of_quantization(
    name: str, small_classifier: Any, wrap: Any, tmp_path: Path
) -> None:
    kind, mistaken = PLANTED[name]
    draw = np.random.default_rng(0)
    wrap(before=mistaken, after=lambda y: y + 0.05 * draw.standard_normal(y.shape, np.float32))  # about 25 dB
    assert [f.kind for f in outcome(small_classifier, tmp_path).findings] == [kind]


def test_a_healthy_file_raises_no_finding(small_classifier: Any, tmp_path: Path) -> None:
    found = outcome(small_classifier, tmp_path)
    assert not found.findings and found.error is None and found.answers is not None and found.answers.flips == 0


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2, 1.0])
def test_noise_alone_is_never_taken_for_a_mistake(
    noise: float, small_classifier: Any, wrap: Any, tmp_path: Path
) -> None:
    """The logits' own deviation is about 1: from FP16's 40 dB to a file that knows nothing."""
    draw = np.random.default_rng(1)
    wrap(after=lambda y: y + noise * draw.standard_normal(y.shape, np.float32))
    found = outcome(small_classifier, tmp_path)
    assert not found.findings and found.outputs[0].sqnr_db is not None and found.outputs[0].sqnr_db < 45


@pytest.mark.parametrize(
    "broken",
    [np.zeros_like, lambda y: np.full_like(y, 1.0), lambda y: -y, lambda y: y[:, ::-1], lambda y: 0.3 * y],
    ids=["zeros", "constant", "negated", "classes reversed", "too weak"],
)
def test_a_broken_file_is_measured_not_explained_away(
    broken: Callable[[Array], Array], small_classifier: Any, wrap: Any, tmp_path: Path
) -> None:
    wrap(after=broken)
    found = outcome(small_classifier, tmp_path)
    assert not found.findings and found.top1 is not None


def test_corrupted_weights_are_never_taken_for_a_mistake_of_the_input(small_classifier: Any, tmp_path: Path) -> None:
    """The first layers above all: what breaks there looks most like another picture."""
    loaded = rebuild(small_classifier.manifest, [small_classifier.checkpoint])
    reference = Reference(loaded, task=Task.CLASSIFY, cache=tmp_path, batch=16, threads=1)
    samples = open_data("demo", num_classes=0, limit=16).samples
    spec = reference.preprocess
    examined = InputPath(reference, samples)
    x = torch.from_numpy(normalize(np.stack([s.pixels(spec) for s in samples]), spec).transpose(0, 3, 1, 2).copy())
    early = [name for name, _ in loaded.module.named_parameters() if name.startswith(("stem", "stages.0"))]
    draw = torch.Generator().manual_seed(0)
    for name in early:
        for corrupt in (torch.zeros_like, torch.neg, lambda p: 0.7 * p, lambda p: p.flip(0), _shuffled(draw)):
            broken = copy.deepcopy(loaded.module)
            with torch.no_grad():
                weight = dict(broken.named_parameters())[name]
                weight.copy_(corrupt(weight))
                found = examined.explain([broken(x).numpy()], spec)
            assert found is None, f"{name} was corrupted, and it says: {found}"


def _shuffled(draw: torch.Generator) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda p: p.flatten()[torch.randperm(p.numel(), generator=draw)].reshape(p.shape)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that have to be resized, not square, every second one with an EXIF orientation."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(16):
        drawn, _ = demo.picture(index, size=320)
        exif = Image.Exif()
        exif[0x0112] = 6 if index % 2 else 1
        Image.fromarray(drawn[:200]).save(folder / f"{index:02d}.png", exif=exif)
    return folder


@pytest.fixture(scope="session")
def random_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that bring their own preprocessing: a manifest that says something else is caught by them."""
    pytest.importorskip("onnxruntime")
    from edgecvx.pipeline import export

    folder = tmp_path_factory.mktemp("random")
    return export("test_convnext2", target="onnx", weights="random", image_size=64, out=folder).artifacts[0].path


def tampered(artifact: Path, folder: Path, **preprocess: Any) -> Path:
    """The artifact with another manifest."""
    path = folder / artifact.name
    shutil.copy(artifact, path)
    manifest = artifact.with_name(artifact.name + ".edgecvx.json")
    said = json.loads(manifest.read_text())
    said["model"]["preprocess"] |= preprocess
    (folder / manifest.name).write_text(json.dumps(said))
    return path


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("interpolation", {"interpolation": "bilinear"}),
        ("interpolation", {"interpolation": "nearest"}),
        ("crop", {"crop_pct": 1.0}),
        ("resize", {"resize": "squash"}),
        ("orientation", {"exif": "ignore"}),
        ("missing-normalization", {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}),
        ("other-normalization", {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}),
        ("preprocessing", {"mean": [0.3, 0.6, 0.2]}),
    ],
)
def test_a_manifest_that_prepares_pictures_otherwise_is_told(
    kind: str, changes: dict[str, Any], random_network: Path, photos: Path, tmp_path: Path
) -> None:
    path = tampered(random_network, tmp_path, **changes)
    (found,) = validate(path, data=photos, threads=1, cache_dir=tmp_path / "cache").artifacts
    assert [f.kind for f in found.findings] == [kind]
    assert f"its manifest says {next(iter(changes))}" in found.findings[0].sentence


def test_the_honest_manifest_of_the_same_file_raises_nothing(
    random_network: Path, photos: Path, tmp_path: Path
) -> None:
    (found,) = validate(random_network, data=photos, threads=1, cache_dir=tmp_path).artifacts
    assert not found.findings and found.answers is not None and found.answers.flips == 0


def test_a_manifest_of_another_layout_is_an_error_before_anything_is_fed(small_classifier: Any, tmp_path: Path) -> None:
    path = tampered(small_classifier.path, tmp_path)
    manifest = path.with_name(path.name + ".edgecvx.json")
    said = json.loads(manifest.read_text())
    said["input"] |= {"shape": [1, 64, 64, 3], "layout": "NHWC"}
    manifest.write_text(json.dumps(said))
    found = outcome(dataclasses.replace(small_classifier, path=path), tmp_path)
    assert found.verdict.kind == "error" and "the manifest was changed" in (found.error or "")


@pytest.mark.parametrize("right", [True, False])
def test_weights_exported_with_the_wrong_preprocessing_are_doubted(
    right: bool, small_classifier: Any, photos: Path, tmp_path: Path
) -> None:
    """Artifact and reference then agree, and both are wrong: only labels tell."""
    module = rebuild(small_classifier.manifest, [small_classifier.checkpoint]).module
    spec = small_classifier.manifest.model.preprocess
    lines = []
    for sample in open_data(photos, num_classes=0).samples:
        x = sample.pixels(spec).transpose(2, 0, 1)[None].astype(np.float32) / 255
        x = (x - MEAN) / STD if right else x
        lines.append(f"{sample.name} {int(module(torch.from_numpy(np.ascontiguousarray(x))).argmax())}")
    truth = tmp_path / "truth.txt"
    truth.write_text("\n".join(lines))
    found = validate(
        small_classifier.path,
        data=photos,
        truth=truth,
        threads=1,
        checkpoints=[small_classifier.checkpoint],
        cache_dir=tmp_path / "cache",
    )
    doubts = [w for w in found.warnings if "looks wrong" in w]
    assert not found.artifacts[0].findings
    assert (doubts == []) if right else ("pixels from 0 to 1 without mean" in doubts[0])
