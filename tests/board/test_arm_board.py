"""A whole measurement on an emulated Arm board with the runtimes' aarch64 wheels, which ``make board`` makes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated import BOARD, PROCESSORS, why_not
from onboarded import names, turns, write_order, write_pictures
from support import network

from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
from edgecvx.spec import Precision, PreprocessSpec, Task, to_json

A76 = next(processor for processor in PROCESSORS if processor.name == "cortex-a76")
SIZE = 64


def on_board(folder: Path, verb: str) -> list[dict[str, Any]]:
    """Starts the runner on the board; every line it answers."""
    process = subprocess.Popen(
        [BOARD / A76.name / "python", folder / "edgecvx-runner.pyz", verb, folder / "ORDER.json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "/site"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        answers = [json.loads(line) for line in process.stdout]
    assert process.wait() == 0
    return answers


def files(folder: Path) -> list[dict[str, Any]]:
    """A small network for both runtimes, as artifacts of an order."""
    from edgecvx.export.onnx import lower as onnx
    from edgecvx.export.tflite import lower as tflite

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


def test_a_whole_measurement_is_marked_as_emulated(tmp_path: Path) -> None:
    if reason := why_not(A76):
        pytest.skip(reason)
    folder = tmp_path
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
