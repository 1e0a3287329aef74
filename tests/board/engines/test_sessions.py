"""What is timed is what is validated: the same settings, the same answers, and the runtime's own word on itself."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from support import network

from edgecvx.board.engines import sessions, settings
from edgecvx.board.runner.order import Artifact, Tensor
from edgecvx.export.base import Lowered
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
from edgecvx.runtimes import open_session, runtime_module
from edgecvx.spec import Precision, Task


def graph() -> ir.Model:
    module = network()
    return build_canonical(fold(module, task=Task.CLASSIFY).module, task=Task.CLASSIFY, image_size=64)


def lower_tflite() -> Lowered:
    from edgecvx.export.tflite.lower import TFLiteOptions, lower

    return lower(graph(), TFLiteOptions(precision=Precision.FP32))


def lower_onnx() -> Lowered:
    from edgecvx.export.onnx.lower import OnnxOptions, lower

    return lower(graph(), OnnxOptions(precision=Precision.FP32))


def lower_openvino() -> Lowered:
    from edgecvx.export.openvino.lower import OpenVINOOptions, lower

    return lower(graph(), OpenVINOOptions(precision=Precision.FP32))


RUNTIMES: dict[str, tuple[str, str, Callable[[], Lowered]]] = {
    "tflite": ("ai_edge_litert", ".tflite", lower_tflite),
    "onnxruntime": ("onnxruntime", ".onnx", lower_onnx),
    "openvino": ("openvino", ".xml", lower_openvino),
}


def opened(
    runtime: str, folder: Path, **changes: Any
) -> tuple[sessions.Runtime, sessions.Session, Path, np.ndarray[Any, np.dtype[Any]]]:
    """A small network's file, open in its runtime, and a batch for it."""
    package, suffix, lower = RUNTIMES[runtime]
    pytest.importorskip(package)
    lowered = lower()
    for ending, content in lowered.files.items():
        (folder / f"model{ending}").write_bytes(content)
    spec = lowered.inputs[0]
    artifact = Artifact(
        id="a0",
        runtime=runtime,
        path=f"model{suffix}",
        threads=1,
        options={},
        input=Tensor(spec.name, spec.shape, spec.dtype, spec.layout),
        array="",
        preprocess=None,
        logits=None,
    )
    artifact = dataclasses.replace(artifact, **changes)
    loaded = sessions.load(runtime, artifact.options)
    path = folder / artifact.path
    batch = np.random.default_rng(0).standard_normal(spec.shape).astype(spec.dtype)
    return loaded, loaded.open(path, artifact), path, batch


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_answers_on_the_device_as_it_does_when_it_is_validated(runtime: str, tmp_path: Path) -> None:
    loaded, session, path, batch = opened(runtime, tmp_path)
    expected = open_session(runtime, path, threads=1, isolated=False).run(batch)
    assert set(session.outputs) == set(expected)
    for name, array in zip(session.outputs, session.run(batch), strict=True):
        np.testing.assert_array_equal(array, expected[name])
    assert loaded.version == runtime_module(runtime).version()
    assert session.threads == 1


def test_what_xnnpack_took_is_counted(tmp_path: Path) -> None:
    _, session, path, _ = opened("tflite", tmp_path)
    words = (session.backend or "").replace(",", "").split()
    assert words[0] == "XNNPACK"
    assert 0 < int(words[1]) <= int(words[3])
    interpreter = settings.tflite_interpreter(
        __import__("ai_edge_litert.interpreter").interpreter, str(path), threads=1, plain=True
    )
    assert sessions.delegated(interpreter) == f"plain kernels, {words[3]} nodes"


class Interpreter:
    """Two of three operations were taken: c = f(a), d = g(c), e = h(d); the delegate makes d from a and a constant."""

    def _get_ops_details(self) -> list[dict[str, Any]]:
        return [
            {"op_name": "F", "inputs": [0, 9], "outputs": [1]},
            {"op_name": "G", "inputs": [1], "outputs": [2]},
            {"op_name": "H", "inputs": [2], "outputs": [3]},
            {"op_name": "DELEGATE", "inputs": [0, 9], "outputs": [2]},
        ]


def test_what_a_delegate_left_is_not_counted() -> None:
    assert sessions.delegated(Interpreter()) == "XNNPACK, 2 of 3 nodes"
    assert sessions.delegated(object()) is None  # an interpreter too old to tell


def test_openvino_tells_its_device_and_arithmetic(tmp_path: Path) -> None:
    _, session, _, _ = opened("openvino", tmp_path)
    assert (session.backend, session.arithmetic) == ("CPU", "f32")


def test_onnxruntime_tells_its_provider(tmp_path: Path) -> None:
    _, session, _, _ = opened("onnxruntime", tmp_path)
    assert session.backend == "CPUExecutionProvider"
    with pytest.raises(sessions.Refused, match="has no provider 'NoSuchExecutionProvider'"):
        opened("onnxruntime", tmp_path, options={"provider": "NoSuchExecutionProvider"})


def test_a_provider_takes_the_whole_file_or_says_what_it_left(tmp_path: Path) -> None:
    """A time told for a provider must not be the processor's."""
    other = "AzureExecutionProvider"  # many builds have it, and it takes none of our operations
    if other not in pytest.importorskip("onnxruntime").get_available_providers():
        pytest.skip(f"this ONNX Runtime has no {other}")
    with pytest.raises(sessions.Refused, match="fallback to CPU EP has been explicitly disabled"):
        opened("onnxruntime", tmp_path, options={"provider": other})
    _, session, _, _ = opened("onnxruntime", tmp_path, options={"provider": other, "fallback": "show"})
    assert re.fullmatch(rf"{other}, 0 of [1-9]\d* nodes", session.backend or "")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_damaged_file_is_refused_in_one_line(runtime: str, tmp_path: Path) -> None:
    """TFLite's interpreter does not check a file: that it runs in a process of its own is what is there for that."""
    loaded, _, path, _ = opened(runtime, tmp_path)
    path.write_bytes(b"no model at all")
    artifact = Artifact("a", runtime, path.name, 1, {}, Tensor("x", (1,), "float32", "NC"), "", None, None)
    with pytest.raises(sessions.Refused) as caught:
        loaded.open(path, artifact)
    assert "\n" not in str(caught.value)


def test_an_option_nobody_knows_is_refused() -> None:
    with pytest.raises(sessions.Refused, match="onnxruntime has no option 'speed', only provider"):
        sessions.load("onnxruntime", {"speed": "high"})


def test_a_runtime_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for runtime, package in (("tflite", "ai-edge-litert"), ("openvino", "openvino"), ("onnxruntime", "onnxruntime")):
        with pytest.raises(sessions.Missing, match="is not installed on this device") as caught:
            sessions.load(runtime, {})
        assert caught.value.package == package
