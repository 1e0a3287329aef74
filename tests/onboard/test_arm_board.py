"""A whole measurement on an emulated Arm board with the runtimes' aarch64 wheels (benchmarks/README.md makes one)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onboarded import names, turns, write_order, write_pictures
from support import network

from edgecvx.export.canonical import build_canonical
from edgecvx.export.fold import fold
from edgecvx.spec import Precision, PreprocessSpec, Task, to_json

BOARD = os.environ.get("EDGECVX_ARM_BOARD")
pytestmark = pytest.mark.skipif(BOARD is None, reason="EDGECVX_ARM_BOARD names no emulated board")
SIZE = 64


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on the board; its path as this machine sees it."""
    path = Path(str(BOARD)) / "tmp" / "edgecvx-run"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    yield path
    shutil.rmtree(path)


def on_board(folder: Path, verb: str) -> list[dict[str, Any]]:
    """Starts the runner on the board; every line it answers."""
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or "chroot"
    there = "/" + str(folder.relative_to(str(BOARD)))
    process = subprocess.Popen(
        [chroot, str(BOARD), "/usr/bin/python3", f"{there}/edgecvx-runner.pyz", verb, f"{there}/ORDER.json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "HOME": "/root", "PYTHONPATH": "/site", "QEMU_CPU": "cortex-a76"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        answers = [json.loads(line) for line in process.stdout]
    assert process.wait() == 0
    return answers


def files(folder: Path) -> list[dict[str, Any]]:
    """A small network for both runtimes, as artifacts of an order."""
    from edgecvx.export import onnx, tflite

    module = network()
    graph = build_canonical(fold(module, task=Task.CLASSIFY).module, task=Task.CLASSIFY, image_size=SIZE)
    lowered = {
        "tflite": tflite.lower(graph, tflite.TFLiteOptions(precision=Precision.FP32)),
        "onnxruntime": onnx.lower(graph, onnx.OnnxOptions(precision=Precision.FP32)),
    }
    artifacts = []
    for runtime, found in lowered.items():
        ((suffix, content),) = found.files.items()
        (folder / f"{runtime}{suffix}").write_bytes(content)
        np.save(folder / f"{runtime}.npy", np.zeros(found.inputs[0].shape, np.float32))
        artifacts.append(
            {
                "id": runtime,
                "runtime": runtime,
                "path": f"{runtime}{suffix}",
                "threads": 1,
                "options": {},
                "input": to_json(found.inputs[0]),
                "array": f"{runtime}.npy",
                "preprocess": to_json(PreprocessSpec(size=SIZE)),
                "logits": "logits",
            }
        )
    return artifacts


def test_a_whole_measurement_is_marked_as_emulated(folder: Path) -> None:
    write_pictures(folder)
    # An emulator is slow and the host says nothing here: the lifeline is off.
    write_order(folder, files(folder), end_to_end=True, memory=True, runs=2, lifeline_seconds=None)
    (checked,) = on_board(folder, "check")
    assert checked["ok"], checked
    events = on_board(folder, "measure")
    assert not [e for e in events if e["event"] == "error"]
    assert names(events)[-1] == "done"
    found = next(e["fingerprint"] for e in events if e["event"] == "fingerprint")
    assert found["emulated"] == "qemu"
    assert found["machine"] == "aarch64"
    assert turns(events) == ["tflite", "onnxruntime", "onnxruntime", "tflite"]
    opened = {e["id"]: e for e in events if e["event"] == "opened"}
    assert opened["tflite"]["backend"].startswith("XNNPACK, ")
    assert opened["onnxruntime"]["backend"] == "CPUExecutionProvider"
    memory = [e["memory"] for e in events if e["event"] == "memory"]
    assert [m["peak"] for m in memory] == [None, None]  # the emulator does not tell, so nobody guesses
