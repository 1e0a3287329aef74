"""What is timed is what is validated: the same settings, the same answers, and the runtime's own word on itself."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from support import network

from edgecvx.board import engines
from edgecvx.board.engines.base import Missing, Refused, Session
from edgecvx.board.engines.tflite import delegated
from edgecvx.export.base import Lowered
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
from edgecvx.runtimes import availability, open_session
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
    from edgecvx.export.base import Options
    from edgecvx.export.openvino.lower import lower

    return lower(graph(), Options(precision=Precision.FP32))


RUNTIMES: dict[str, tuple[str, str, Callable[[], Lowered]]] = {
    "tflite": ("ai_edge_litert", ".tflite", lower_tflite),
    "onnxruntime": ("onnxruntime", ".onnx", lower_onnx),
    "openvino": ("openvino", ".xml", lower_openvino),
}


def opened(
    runtime: str, folder: Path, options: Mapping[str, str] = MappingProxyType({})
) -> tuple[Any, Session, Path, np.ndarray[Any, np.dtype[Any]]]:
    """A small network's file, open in its runtime, and a batch for it."""
    package, suffix, lower = RUNTIMES[runtime]
    pytest.importorskip(package)
    lowered = lower()
    for ending, content in lowered.files.items():
        (folder / f"model{ending}").write_bytes(content)
    spec = lowered.inputs[0]
    loaded = engines.load(runtime, options)
    path = folder / f"model{suffix}"
    batch = np.random.default_rng(0).standard_normal(spec.shape).astype(spec.dtype)
    return loaded, loaded.open(path, 1), path, batch


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_answers_on_the_device_as_it_does_when_it_is_validated(runtime: str, tmp_path: Path) -> None:
    loaded, session, path, batch = opened(runtime, tmp_path)
    validated = open_session(runtime, path, threads=1, isolated=False)
    expected = validated.run(batch)
    assert [vars(tensor) for tensor in (*session.inputs, *session.outputs)] == [
        dataclasses.asdict(spec) for spec in (*validated.inputs, *validated.outputs)
    ]
    assert {output.name for output in session.outputs} == set(expected)
    for output, array in zip(session.outputs, session.run(batch), strict=True):
        np.testing.assert_array_equal(array, expected[output.name])
    assert loaded.version == availability(runtime).version
    assert session.threads == 1


def test_what_xnnpack_took_is_counted(tmp_path: Path) -> None:
    _, session, path, _ = opened("tflite", tmp_path)
    words = (session.backend or "").replace(",", "").split()
    assert words[0] == "XNNPACK"
    assert 0 < int(words[1]) <= int(words[3])
    plain = engines.load("tflite", {"delegate": "none"}).open(path, 1)
    assert plain.backend == f"plain kernels, {words[3]} nodes"


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
    assert delegated(Interpreter()) == "XNNPACK, 2 of 3 nodes"
    assert delegated(object()) is None  # an interpreter too old to tell


def test_openvino_tells_its_device_and_arithmetic(tmp_path: Path) -> None:
    _, session, _, _ = opened("openvino", tmp_path)
    assert (session.backend, session.arithmetic) == ("CPU", "f32")


def test_onnxruntime_tells_its_provider(tmp_path: Path) -> None:
    _, session, _, _ = opened("onnxruntime", tmp_path)
    assert session.backend == "CPUExecutionProvider"
    with pytest.raises(Refused, match="has no provider 'NoSuchExecutionProvider'"):
        opened("onnxruntime", tmp_path, options={"provider": "NoSuchExecutionProvider"})


def test_a_provider_takes_the_whole_file_or_says_what_it_left(tmp_path: Path) -> None:
    """A time told for a provider must not be the processor's."""
    other = "AzureExecutionProvider"  # many builds have it, and it takes none of our operations
    if other not in pytest.importorskip("onnxruntime").get_available_providers():
        pytest.skip(f"this ONNX Runtime has no {other}")
    with pytest.raises(Refused, match="fallback to CPU EP has been explicitly disabled"):
        opened("onnxruntime", tmp_path, options={"provider": other})
    _, session, _, _ = opened("onnxruntime", tmp_path, options={"provider": other, "fallback": "show"})
    assert re.fullmatch(rf"{other}, 0 of [1-9]\d* nodes", session.backend or "")


def test_openvino_names_the_devices_there_are(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"OpenVINO has no device 'TOASTER' here, only .*CPU"):
        opened("openvino", tmp_path, options={"device": "TOASTER"})


@pytest.mark.parametrize("runtime", engines.NAMES)
def test_every_engine_has_the_same_names_for_the_same_jobs(runtime: str) -> None:
    """A new runtime is a file and its name in a list."""
    engine = engines.engine(runtime)
    assert {"TITLE", "PACKAGE", "OPTIONS", "version", "Runtime"} <= set(vars(engine))
    assert callable(engine.Runtime.open)
    assert hasattr(engine.Runtime, "compile") is (runtime in engines.COMPILED)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_damaged_file_is_refused_in_one_line(runtime: str, tmp_path: Path) -> None:
    """TFLite's interpreter does not check a file: that it runs in a process of its own is what is there for that."""
    loaded, _, path, _ = opened(runtime, tmp_path)
    path.write_bytes(b"no model at all")
    with pytest.raises(Refused) as caught:
        loaded.open(path, 1)
    assert "\n" not in str(caught.value)


def test_an_option_nobody_knows_is_refused() -> None:
    with pytest.raises(Refused, match="no option of onnxruntime 'speed', only provider"):
        engines.load("onnxruntime", {"speed": "high"})
    with pytest.raises(Refused, match="no fallback 'hide', only refuse, show"):
        engines.load("onnxruntime", {"fallback": "hide"})
    with pytest.raises(Refused, match="no option of tensorrt 'build'"):
        engines.load("tensorrt", {"build": "yes"})


def test_a_runtime_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for runtime, package in (("tflite", "ai-edge-litert"), ("openvino", "openvino"), ("onnxruntime", "onnxruntime")):
        with pytest.raises(Missing, match="is not installed on this device") as caught:
            engines.load(runtime, {})
        assert caught.value.package == package
