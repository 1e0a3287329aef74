"""A file computes on every processor what it computes here, as far as those can be emulated.

x86 processors without VNNI add products of uint8 and int8 in pairs, in int16, where large ones saturate. Our weights
are made so that they cannot (``edgecvx.graph.pairs``); here that is seen from outside, in the runtimes' own kernels.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from emulated import HERE, PROCESSORS, THIS, Processor, Way, run, why_not
from lowerings import canonical
from numpy.typing import NDArray
from quantized import plan_of
from support import network, probe, relative_error

from edgecvx.export.base import load_attribute
from edgecvx.models.convnext import ConvNeXt
from edgecvx.quantize.insert import insert
from edgecvx.spec import Precision
from edgecvx.targets import get_target

for package in ("onnxruntime", "openvino", "ai_edge_litert"):
    pytest.importorskip(package)

Answers = Mapping[str, NDArray[np.float32]]
PICTURES = 4
TARGETS = ("onnx", "openvino", "tflite")
NETWORKS: dict[str, dict[str, Any]] = {"v2": {}, "v1": {"grn": False, "stem": "overlap", "depths": (1, 1, 1, 1)}}
UNSAFE = "unsafe"

FP32_CLOSE = 1e-4
"""Of the largest value: other instructions sum in another order, 3e-7 was seen; 1e-4 changes no answer."""
ROUNDING = 1.0
"""How far two processors may be apart in INT8, in units of the distance from INT8 to FP32, both as root mean squares.

One value that is rounded the other way makes the next layers round differently, and in the end both are samples of the
same noise, which is what INT8 costs anyway. Seen were 0 to 0.41. Sums that saturate are no rounding: the unsafe files
were 8.9 apart and more.
"""
SATURATING = {"onnx": ("AVX2", "AVX-512"), "openvino": ("SSE4.2", "AVX2", "AVX-512"), "tflite": ()}
"""Where the runtime's kernels add in int16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a network."""

    network: str
    target: str
    precision: Precision
    path: Path
    float_path: Path
    """The same network's FP32 file of the same runtime; itself for that."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[File, ...]:
    folder = tmp_path_factory.mktemp("files")
    found: list[File] = []
    modules = {name: network(**changes) for name, changes in NETWORKS.items()}
    modules[UNSAFE] = unsafe(network(depths=(1, 1, 1, 1)))
    for name, module in modules.items():
        for target in TARGETS:
            found += written(module, name, target, folder)
    return tuple(found)


@pytest.fixture(scope="module")
def here(files: tuple[File, ...], tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return answers_on(THIS, files, tmp_path_factory.mktemp("here"))


def written(module: ConvNeXt, name: str, target: str, folder: Path) -> list[File]:
    """A network's files for a target in FP32 and each integer precision; unsafe ones with their pairs as they come."""
    graph, chosen = canonical(module), get_target(target)
    plan = plan_of(graph)
    found: list[File] = []
    for precision in (Precision.FP32, *chosen.schemes):
        source = graph
        if precision.quantized:
            scheme = chosen.schemes[precision]
            scheme = dataclasses.replace(scheme, pairs=()) if name == UNSAFE else scheme
            source = insert(graph, scheme, None if scheme.dynamic else plan)
        options = chosen.options(precision)
        lowered = load_attribute(chosen.format.lower)(source, options)
        for suffix, content in lowered.files.items():
            (folder / f"{name}-{precision.value}{suffix}").write_bytes(content)
        path = folder / f"{name}-{precision.value}{chosen.format.suffix}"
        float_path = found[0].path if found else path
        found.append(File(network=name, target=target, precision=precision, path=path, float_path=float_path))
    return found


def unsafe(module: ConvNeXt) -> ConvNeXt:
    """Weights of one size, two and two of one sign: every pair is 127 and 127, and any two activations overflow."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith(("fc1.weight", "fc2.weight")):
                signs = torch.randint(2, (len(weight), weight.shape[1] // 2), generator=draw).mul(2).sub(1)
                weight.copy_(weight.abs().mean() * signs.repeat_interleave(2, dim=1).reshape(weight.shape))
    return module


def answers_on(processor: Processor, files: tuple[File, ...], folder: Path) -> Answers:
    images = np.concatenate([probe(seed=seed) for seed in range(PICTURES)])
    np.save(folder / "images.npy", images)
    paths = [file.path for file in files]
    out = folder / "answers.npz"
    refused = run(processor, HERE / "answers.py", out, folder / "images.npy", str(PICTURES), *paths)
    assert not refused
    with np.load(out) as found:
        return dict(found)


def distance(file: File, here: Answers, there: NDArray[np.float32]) -> float:
    """Between two processors: of the largest value in FP32, and in INT8 of what is lost to FP32."""
    expected = here[file.path.name]
    if not file.precision.quantized:
        return relative_error(there, expected)
    relative_error(there, expected)  # finite, of that shape, and something to compare
    return rms(there - expected) / rms(expected - here[file.float_path.name])


def rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(values.astype(np.float64)).mean()))


def runs(file: File, processor: Processor) -> bool:
    """Whether a file is run there. The unsafe network is about sums of integers alone.

    OpenVINO 2026.4 does not open our INT8 files on every Arm: GRN sums over two axes, which its plugin for Arm takes
    apart into constants whose memory it then reads as another type ("Axis 365072220162 out of the tensor rank range"),
    and on a Cortex-A72 it has no kernel for an overlapping stem ("object is not initialized").
    """
    if processor.way is Way.BOARD and file.target == "openvino" and file.precision.quantized:
        return False
    return file.network != UNSAFE or file.precision is Precision.INT8


def asked_elsewhere(processor: Processor) -> bool:
    """Whether ``make emulated`` asks it and this does not: an emulator takes 20 seconds to import what is run.

    Nehalem, which has the fewest instructions of all, is emulated here too; Haswell's kernels are those that this
    processor runs at full speed where it hides what is newer.
    """
    if processor.name != "Haswell" or "EVERY_PROCESSOR" in os.environ:
        return False
    return any(p.way is Way.HIDDEN and p.kind == processor.kind and not why_not(p) for p in PROCESSORS)


@pytest.mark.parametrize("processor", [p for p in PROCESSORS if not asked_elsewhere(p)], ids=str)
def test_files_answer_as_they_do_here(
    processor: Processor, files: tuple[File, ...], here: Answers, tmp_path: Path
) -> None:
    if reason := why_not(processor):
        pytest.skip(reason)
    chosen = tuple(file for file in files if runs(file, processor))
    there = answers_on(processor, chosen, tmp_path)
    distances = {file.path.name: distance(file, here, there[file.path.name]) for file in chosen}
    limits = {file.path.name: ROUNDING if file.precision.quantized else FP32_CLOSE for file in chosen}
    apart = {name for name, found in distances.items() if found > limits[name]}
    saturating = {f.path.name for f in chosen if f.network == UNSAFE and processor.kind in SATURATING[f.target]}
    assert apart == saturating, distances


def test_every_file_of_a_runtime_is_among_them(files: tuple[File, ...]) -> None:
    found = {(file.network, file.target, file.precision) for file in files}
    wanted = {(target, p) for target in TARGETS for p in (Precision.FP32, *get_target(target).schemes)}
    assert found == {(name, *pair) for name in (*NETWORKS, UNSAFE) for pair in wanted}
