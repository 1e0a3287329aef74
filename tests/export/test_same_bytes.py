"""The same network gives the same bytes in every process, whatever order Python's sets and hashes take there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino")

PROGRAM = """
import hashlib, sys
from lowerings import canonical
from support import network
from edgecvx.export.onnx import lower as onnx
from edgecvx.export.openvino import lower as openvino
from edgecvx.spec import Precision
from quantized import quantized

labels = {"edgecvx.task": "classify", "edgecvx.labels": '["a", "b"]', "edgecvx.model": "m"}
graph = canonical(network(), metadata=labels)
for lower, options in ((onnx.lower, onnx.OnnxOptions), (openvino.lower, openvino.Options)):
    for precision in (Precision.FP32, Precision.FP16):
        for suffix, content in lower(graph, options(precision=precision)).files.items():
            print(lower.__module__, precision.value, suffix, hashlib.sha256(content).hexdigest())
            assert sys.argv[1].encode() not in content, "the file names a folder of this machine"
int8 = onnx.lower(quantized(graph), onnx.OnnxOptions(precision=Precision.INT8)).files[".onnx"]
print("edgecvx.export.onnx.lower int8", hashlib.sha256(int8).hexdigest())
"""


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    told = set()
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        told.add(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, str(tmp_path)],
                cwd=tmp_path / seed,
                env={
                    "PYTHONPATH": ":".join(path for path in sys.path if path),
                    "PYTHONHASHSEED": seed,
                    "TMPDIR": str(tmp_path / seed),
                    "OMP_NUM_THREADS": "1",
                },
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert len(told) == 1
    assert len(told.pop().splitlines()) == 7
