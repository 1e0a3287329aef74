"""What a file of the native engine holds, told without the engine; and the same file with more outputs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ecvx_networks import image_of, random_description, random_file
from ecvx_reference import answer

from edgecvx.errors import ArtifactError
from edgecvx.export.native.description import Int8Linear
from edgecvx.export.native.expose import expose, inner_tensors
from edgecvx.export.native.parser import parse
from edgecvx.export.native.points import inner_taps, outputs_of
from edgecvx.export.native.reader import read_ops
from edgecvx.export.native.writer import write
from edgecvx.spec import Task


def put(folder: Path, content: bytes) -> Path:
    path = folder / "model.ecvx"
    path.write_bytes(content)
    return path


def test_the_operations_of_a_file(tmp_path: Path) -> None:
    described = random_description(
        1,
        task=Task.CLASSIFY,
        classes=10,
        batch=2,
        size=64,
        dims=(8, 12, 16, 24),
        depths=(1, 1, 2, 1),
        kernels=(7, 7, 7, 3),
        stem=((4, 4, 0),),
        grn=True,
        integers=1.0,
    )
    ops = {op.name: op for op in read_ops(put(tmp_path, write(described)))}
    assert [op.op for op in ops.values()][:9] == [
        *("Conv", "LayerNorm", "DepthwiseConv", "LayerNorm", "Conv"),
        *(ops["stages.0.blocks.0.mlp.act"].op, "Grn", "Conv", "Add"),
    ]
    fc1, depthwise = ops["stages.2.blocks.1.mlp.fc1"], ops["stages.0.blocks.0.conv_dw"]
    assert (fc1.macs, fc1.bits, fc1.shape) == (2 * 4 * 4 * 16 * 64, 8, (2, 4, 4, 64))
    assert fc1.const_bytes == 16 * 64 + 2 * 4 * 64  # int8 weights, their scales, the bias
    assert (depthwise.macs, depthwise.bits) == (2 * 16 * 16 * 49 * 8, None)
    assert (ops["logits"].macs, ops["stem.0"].macs) == (2 * 24 * 10, 2 * 16 * 16 * 48 * 8)
    assert all((op.bits == 8) == (op.op in ("Conv", "Gemm")) for op in ops.values())
    assert len(ops) == 2 + 5 * 7 + 3 * 2 + 3


@pytest.mark.parametrize("seed", range(6))
def test_all_constants_of_a_file_are_some_operations(seed: int, tmp_path: Path) -> None:
    content = random_file(seed, integers=0.5)
    ops = read_ops(put(tmp_path, content))
    counted = sum(op.const_bytes for op in ops)
    assert 0.5 * len(content) < counted < len(content)
    layers = {op.name: op.bits == 8 for op in ops if op.op in ("Conv", "Gemm")}
    described = parse(content)
    assert layers["stem.0"] == isinstance(described.stem[0].linear, Int8Linear)
    assert layers["stages.3.blocks.0.mlp.fc2"] == isinstance(described.stages[3].blocks[0].fc2, Int8Linear)


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("seed", [21, 22])
def test_every_inner_tensor_can_be_returned_too(seed: int, task: Task, tmp_path: Path) -> None:
    content = random_file(seed, task=task, taps=1, depths=(1, 2, 1, 1))
    path = put(tmp_path, content)
    names = list(inner_tensors(path))
    longer = expose(path, names)[".ecvx"]
    described, image = parse(longer), image_of(parse(content))
    seen: dict[str, np.ndarray] = {}
    found = answer(longer, image, lambda name, array: seen.update({name: array}))
    outputs = outputs_of(described)
    assert {output.name for output in outputs} == set(names)
    assert [array.shape for array in found] == [output.shape for output in outputs]
    for array, output in zip(found, outputs, strict=True):
        if output.name in seen:
            assert np.array_equal(array, seen[output.name])
    assert len(seen.keys() & set(names)) >= len(names) - 4
    assert all(map(np.array_equal, found, answer(content, image)))  # its own outputs come first, unchanged


def test_a_debug_build_changes_nothing_but_its_outputs(tmp_path: Path) -> None:
    content = random_file(23, taps=0)
    path = put(tmp_path, content)
    longer = parse(expose(path, ["stages.1.downsample.1"])[".ecvx"])
    assert [tap.name for tap in longer.taps] == ["stages.1.downsample.1"]
    assert write(replace(longer, taps=())) == content
    with pytest.raises(ArtifactError, match=r"model\.ecvx has no tensor 'stages\.0\.downsample\.1'"):
        expose(path, ["stages.0.downsample.1"])


def test_a_stage_map_has_one_name() -> None:
    """Where it is an output it is called as that, and is no inner tensor besides."""
    features = random_description(24, task=Task.FEATURES, depths=(2, 1, 1, 1))
    assert "stages.0.blocks.0" in inner_taps(features) and "stages.0.blocks.1" not in inner_taps(features)
    assert [output.name for output in outputs_of(replace(features, taps=()))] == [f"feature{i}" for i in range(4)]


def test_the_reference_has_teeth() -> None:
    """One weight of one block, anywhere, and the answers are others."""
    described = random_description(25, task=Task.FEATURES, integers=1.0, size=32, batch=1)
    image = image_of(described)
    expected = answer(described, image)[3]
    stage = described.stages[3]
    block = stage.blocks[0]
    assert isinstance(block.fc2, Int8Linear)
    weights = block.fc2.weights.copy()
    weights[0, 0] = -weights[0, 0] if abs(int(weights[0, 0])) > 20 else 100
    broken = replace(block, fc2=replace(block.fc2, weights=weights))
    stages = (*described.stages[:3], replace(stage, blocks=(broken, *stage.blocks[1:])))
    found = answer(replace(described, stages=stages), image)[3]
    assert not math.isclose(float(np.abs(found - expected).max()), 0.0, abs_tol=1e-6)
