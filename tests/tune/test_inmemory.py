"""A module in memory is searched as its checkpoint is, and known again by its tensors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from small_search import BUDGET, plant

import edgecvx
from edgecvx.data import demo
from edgecvx.errors import UsageError
from edgecvx.files import read_artifact
from edgecvx.spec import PreprocessSpec
from edgecvx.tune.report.values import Tuned

if TYPE_CHECKING:
    from small_classifier import Exported

    from edgecvx.models.convnext import ConvNeXt


@pytest.fixture(scope="module")
def module(small_classifier: Exported) -> ConvNeXt:
    """The small network, out of its file and without it."""
    from edgecvx.models.load import load_model

    return load_model(small_classifier.checkpoint, image_size=64).module


def search(module: ConvNeXt, out: Path, patch: pytest.MonkeyPatch, **options: Any) -> Tuned:
    plant(patch, out.parent / "cache")
    return edgecvx.tune(
        [module],
        target="onnx",
        labels=demo.CLASSES,
        preprocess=PreprocessSpec(size=64),
        max_drop=60,
        sizes=(32,),
        budget=BUDGET,
        out=out,
        **options,
    )


@pytest.fixture(scope="module")
def found(module: ConvNeXt, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuned, Path]:
    out = tmp_path_factory.mktemp("memory") / "out"
    with pytest.MonkeyPatch.context() as patch:
        return search(module, out, patch), out


def test_a_module_ends_in_a_file_of_its_tensors(found: tuple[Tuned, Path], module: ConvNeXt) -> None:
    from edgecvx.inmemory.module import load_module

    (device,) = found[0].devices
    assert device.ending.kind == "decided" and device.shipped is not None
    _, manifest = read_artifact(found[1] / device.shipped)
    weights = manifest.model.weights
    assert weights.kind == "module"
    assert weights.sha256 == load_module(module, preprocess=PreprocessSpec(size=64)).spec.weights.sha256
    assert manifest.model.preprocess.size == 32 and manifest.model.labels == demo.CLASSES


def test_the_same_tensors_in_another_module_are_written_and_validated_no_second_time(
    found: tuple[Tuned, Path], module: ConvNeXt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*_: object, **__: object) -> None:
        raise AssertionError("this was done already")

    monkeypatch.setattr(edgecvx, "export", again, raising=False)
    monkeypatch.setattr(edgecvx, "validate", again, raising=False)
    assert search(copy.deepcopy(module), found[1], monkeypatch).devices[0].ending == found[0].devices[0].ending


@pytest.mark.parametrize("changed", ["a weight", "the preprocessing"])
def test_other_tensors_or_other_pictures_are_another_network(
    changed: str, found: tuple[Tuned, Path], module: ConvNeXt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: nothing of the first search may be taken for it."""
    import torch

    exported = list[object]()

    class EnoughError(Exception):
        pass

    def export(model: object, **_: object) -> None:
        exported.append(model)
        raise EnoughError

    other = copy.deepcopy(module)
    prepared = PreprocessSpec(size=64)
    if changed == "a weight":
        with torch.no_grad():
            next(other.parameters()).flatten()[0] += 0.01
    else:
        prepared = PreprocessSpec(size=64, mean=(0.5, 0.5, 0.5))
    monkeypatch.setattr(edgecvx, "export", export, raising=False)
    plant(monkeypatch, found[1].parent / "cache")
    with pytest.raises(EnoughError):
        edgecvx.tune(
            other,
            target="onnx",
            labels=demo.CLASSES,
            preprocess=prepared,
            max_drop=60,
            sizes=(32,),
            budget=BUDGET,
            out=found[1],
        )
    assert exported == [other]


def test_weights_beside_a_module_are_refused(module: ConvNeXt, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already holds its weights"):
        edgecvx.tune(module, target="onnx", weights="demo", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_module_is_not_taken_for_several(module: ConvNeXt, tmp_path: Path) -> None:
    """A module has children to go through, and a list may hold it twice."""
    with pytest.raises(UsageError, match="MODEL names one twice: ConvNeXt, ConvNeXt"):
        edgecvx.tune([module, module], target="onnx", out=tmp_path / "out")
