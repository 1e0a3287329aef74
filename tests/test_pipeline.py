"""The whole way, for every variant, target, task and precision: each file against unfolded FP32 PyTorch.

The comparison is made here once more and independently of the self-check that each export makes of itself: other
pictures, the file opened anew from the disk, and the reference network as the loader gives it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray

import edgecvx
from edgecvx.data.preprocess import normalize
from edgecvx.errors import SelfCheckError, UsageError
from edgecvx.export.base import Lowered
from edgecvx.manifest import manifest_path
from edgecvx.models.convnext import outputs_of
from edgecvx.models.load import load_model
from edgecvx.pipeline import Exported, Step, export
from edgecvx.proof.metrics import max_error_of_range
from edgecvx.proof.selfcheck import channels_first
from edgecvx.runtimes.artifact import load
from edgecvx.runtimes.base import run_batches
from edgecvx.spec import PreprocessSpec

TARGETS = ("onnx", "openvino", "tflite", "coreml")
LIMITS = {"fp32": 1e-3, "fp16": 1e-2}


def pictures(size: int, seed: int = 7) -> NDArray[np.uint8]:
    """Two pictures that are not among the probes: blocks of colour with noise on them."""
    draw = np.random.default_rng(seed)
    blocks = draw.integers(0, 256, (2, size // 16, size // 16, 3)).repeat(16, 1).repeat(16, 2)
    return np.clip(blocks + draw.normal(0, 12, blocks.shape), 0, 255).astype(np.uint8)


@functools.cache
def reference(model: str, weights: str, size: int, task: str) -> tuple[PreprocessSpec, list[NDArray[np.float32]]]:
    """What the unfolded network makes of the pictures, and how they are prepared for it."""
    loaded = load_model(model, weights=weights, image_size=size)
    preprocess = loaded.spec.preprocess
    normalized = np.stack([normalize(picture, preprocess) for picture in pictures(size)])
    with torch.inference_mode():
        images = torch.from_numpy(normalized).permute(0, 3, 1, 2).contiguous()
        return preprocess, [output.numpy() for output in outputs_of(loaded.module, images, task)]


def errors(artifact: Exported, model: str, weights: str) -> list[float]:
    """How far each output of a file is from the unfolded network, as a fraction of the range.

    The file is opened in this process: a process of its own is what the export proved it in.
    """
    manifest = artifact.manifest
    size = manifest.model.preprocess.size
    preprocess, expected = reference(model, weights, size, manifest.task.value)
    taken = batch = pictures(size)
    if manifest.input.dtype != "uint8":
        taken = np.stack([normalize(picture, preprocess) for picture in batch]).astype(manifest.input.dtype)
    with load(artifact.path, isolated=False, threads=1) as opened:
        taken = taken if manifest.input.layout == "NHWC" else taken.transpose(0, 3, 1, 2)
        actual = run_batches(opened.session, np.ascontiguousarray(taken))
    return [
        max_error_of_range(channels_first(actual[spec.name], spec.layout), exact)
        for spec, exact in zip(manifest.outputs, expected, strict=True)
    ]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("variant", ["atto", "femto", "pico", "nano"])
def test_every_variant_on_every_target(variant: str, precision: str, tmp_path: Path) -> None:
    # At 224 the one in which that is quick; the graphs of the larger three differ in nothing but the maps' sizes.
    size = 224 if variant == "atto" else 64
    result = export(variant, target=TARGETS, weights="random", precision=precision, image_size=size, out=tmp_path)
    assert [a.target for a in result.artifacts] == list(TARGETS)
    for artifact in result.artifacts:
        (error,) = errors(artifact, variant, "random")
        assert error <= LIMITS[precision], (artifact.target, error)


@pytest.mark.parametrize("task", ["features", "embed"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_other_tasks_on_every_target(task: str, precision: str, tmp_path: Path) -> None:
    result = export(
        "atto", target=TARGETS, weights="random", task=task, precision=precision, image_size=64, out=tmp_path
    )
    for artifact in result.artifacts:
        assert f"-64-{task}-{precision}." in artifact.path.name
        found = errors(artifact, "atto", "random")
        assert len(found) == (4 if task == "features" else 1)
        assert max(found) <= LIMITS[precision], (artifact.target, found)


def test_bytes_in(tmp_path: Path) -> None:
    """``--input uint8``: the picture's own bytes, no preprocessing left."""
    result = export("atto", target=TARGETS, weights="random", input_kind="uint8", image_size=64, out=tmp_path)
    assert [a.target for a in result.artifacts] == list(TARGETS)
    for artifact in result.artifacts:
        assert artifact.manifest.input.dtype == "uint8", artifact.target
        assert "-64-uint8-fp32." in artifact.path.name
        assert "uint8-input" in artifact.manifest.folds, artifact.target
        assert max(errors(artifact, "atto", "random")) <= 1e-3, artifact.target


def test_batches(tmp_path: Path) -> None:
    """A file of batch 3 answers any number of pictures, here 2, in the order they came."""
    result = export("atto", target=TARGETS, weights="random", batch=3, image_size=64, out=tmp_path)
    assert [a.target for a in result.artifacts] == list(TARGETS)
    for artifact in result.artifacts:
        assert artifact.manifest.input.shape[0] == 3, artifact.target
        assert "-64-b3-fp32." in artifact.path.name
        assert max(errors(artifact, "atto", "random")) <= 1e-3, artifact.target


def test_other_sizes(tmp_path: Path) -> None:
    for artifact in export("atto", target=("onnx", "tflite"), weights="random", image_size=384, out=tmp_path).artifacts:
        assert 384 in artifact.manifest.input.shape, artifact.target
        assert max(errors(artifact, "atto", "random")) <= 1e-3, artifact.target


@pytest.mark.parametrize("variant", ["convnext_atto", "convnext_atto_ols", "test_convnext3"])
def test_the_first_version_of_the_network(variant: str, tmp_path: Path) -> None:
    result = export(variant, target=TARGETS, weights="random", image_size=64, out=tmp_path)
    for artifact in result.artifacts:
        assert max(errors(artifact, variant, "random")) <= 1e-3, artifact.target


@pytest.mark.parametrize("folds", [(), ("grn-beta", "grn-rms"), ("layernorm",)])
def test_every_fold_can_be_left_out(folds: Sequence[str], tmp_path: Path) -> None:
    result = export("atto", target=TARGETS, weights="random", image_size=64, folds=folds, out=tmp_path)
    for artifact in result.artifacts:
        assert artifact.manifest.folds == tuple(folds)
        assert max(errors(artifact, "atto", "random")) <= 1e-3, artifact.target


def test_a_file_that_is_off_is_not_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One weight of one block is doubled between the graph and the file; what was there before stays."""
    import edgecvx.export.onnx.lower as onnx_target

    export("atto", target="onnx", weights="random", image_size=64, out=tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    lower = onnx_target.lower

    def damaged(graph: ir.Model, options: onnx_target.OnnxOptions) -> Lowered:
        constant = graph.graph.initializers["stages.2.blocks.3.mlp.fc2.weight"]
        assert constant.const_value is not None
        constant.const_value = ir.tensor(constant.const_value.numpy() * 2, name=constant.name)
        return lower(graph, options)

    monkeypatch.setattr(onnx_target, "lower", damaged)
    with pytest.raises(SelfCheckError, match="not handed over"):
        export("atto", target="onnx", weights="random", image_size=64, out=tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_steps_are_announced_in_order(tmp_path: Path) -> None:
    steps: list[Step] = []
    export("atto", target=["onnx", "tflite"], weights="random", image_size=64, out=tmp_path, on_step=steps.append)
    assert [step.index for step in steps] == list(range(steps[0].total))
    assert "tflite" in steps[-1].name


def test_the_api_mirrors_the_command_line(tmp_path: Path) -> None:
    """``edgecvx.export`` is a call whether or not something inside the folder export/ was imported before."""
    result = edgecvx.export("atto", target="onnx", weights="random", image_size=64, out=tmp_path, dump=tmp_path / "d")
    with edgecvx.load(result.artifacts[0].path) as artifact:
        ((best, *_),) = artifact.predict([pictures(64)[0]])
    assert 0 < best.probability <= 1
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["convnextv2_atto.random-64-fp32.canonical.onnx"]
    assert edgecvx.export.base.Lowered  # type: ignore[attr-defined]


def test_paths_may_be_text(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"thing {i}" for i in range(1000)))
    texts: Any = {"out": str(tmp_path / "out"), "dump": str(tmp_path / "dump"), "labels": str(labels)}
    (artifact,) = edgecvx.export("atto", target="onnx", weights="random", image_size=32, **texts).artifacts
    assert artifact.path.parent == tmp_path / "out"
    assert artifact.manifest.model.labels is not None
    assert (tmp_path / "dump").is_dir()


@pytest.mark.parametrize(("option", "value"), [("precision", "fp64"), ("task", "clasify"), ("input_kind", "int8")])
def test_an_unknown_choice_is_our_error_in_python_too(option: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"unknown .* '{value}'"):
        edgecvx.export("atto", target="onnx", weights="random", out=tmp_path, **{option: value})


def test_devices_are_targets_too(tmp_path: Path) -> None:
    (artifact,) = export("atto", target="raspberrypi5", weights="random", image_size=64, out=tmp_path).artifacts
    assert artifact.manifest.target == "raspberrypi5"
    assert artifact.path.suffix == ".tflite"
    assert manifest_path(artifact.path).is_file()


def test_a_precision_no_target_has_is_refused_before_any_work(tmp_path: Path) -> None:
    import edgecvx.pipeline as pipeline
    from edgecvx.targets import get_target

    with pytest.MonkeyPatch.context() as patch:
        target = get_target("onnx")
        limited = dataclasses.replace(target, format=dataclasses.replace(target.format, floats=()))
        patch.setattr(pipeline, "get_target", lambda _: limited)
        with pytest.raises(UsageError, match="target onnx has no fp32"):
            export("atto", target="onnx", weights="random", out=tmp_path)


def test_what_a_target_has_no_file_for_is_refused_before_any_file_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one picture at a time"):
        export("atto", target=("onnx", "coreml"), weights="random", input_kind="uint8", batch=2, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_nobody_may_write_to_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Step] = []
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(UsageError, match=r"nothing can be written into .*deep: choose another folder"):
        export("atto", target="onnx", weights="random", out=tmp_path / "new" / "deep", on_step=seen.append)
    assert not seen
