"""A result at the end of a notebook's cell is a few lines, and none of them is a list of hashes."""

from __future__ import annotations

import dataclasses
from typing import Any

import benchmark_sample
import pytest
from small_classifier import Exported as SmallClassifier
from validation_sample import validation

import edgecvx
from edgecvx.pipeline import Exported, ExportResult


class Printer:
    """As much of IPython's as is asked for."""

    def __init__(self) -> None:
        self.said = ""

    def text(self, said: str) -> None:
        self.said += said


def shown(value: Any) -> list[str]:
    """What a cell shows, by the line, and by IPython's rule: the first class that has either method is asked."""
    printer = Printer()
    first = next(cls for cls in type(value).__mro__ if {"_repr_pretty_", "__repr__"} & set(vars(cls)))
    vars(first)["_repr_pretty_"](value, printer, False)
    assert printer.said == str(value)
    return printer.said.splitlines()


def test_a_validation_shows_a_line_for_each_file_and_each_warning() -> None:
    result = dataclasses.replace(validation(), warnings=("few pictures",))
    lines = shown(result)
    assert len(lines) == len(result.artifacts) + 1
    top1 = result.artifacts[1].top1
    assert top1 is not None
    rates = f"top-1 {100 * top1.artifact.value:.2f}%, FP32 {100 * top1.reference.value:.2f}%"
    assert lines[1].startswith(f"convnextv2_femto.demo-224-int8.tflite: fail: {rates}: ")
    assert lines[-1] == "warning: few pictures"
    assert len(repr(result)) > 20 * len(str(result))  # a debugger still sees all of it


def test_what_went_wrong_stands_in_it() -> None:
    result = validation()
    verdict = dataclasses.replace(result.artifacts[0].verdict, kind="error", reason="not measured: no module")
    broken = dataclasses.replace(result.artifacts[0], verdict=verdict, top1=None)
    assert shown(broken) == [f"{broken.identity.file}: error: not measured: no module"]


def test_a_benchmark_shows_the_median_of_each_file_on_each_device() -> None:
    result = benchmark_sample.benchmark(benchmark_sample.laptop(), benchmark_sample.pi())
    lines = shown(result)
    rows = [(d, m) for d in result.devices for m in d.measured]
    for (device, measured), line in zip(rows, lines, strict=False):
        assert line.startswith(f"{device.fingerprint.name}: {measured.identity.file}, ")
        assert ("p50 " in line) is (measured.model_summary is not None)
        assert measured.error is None or measured.error in line


def test_an_export_shows_its_files_and_what_should_be_known(small_classifier: SmallClassifier) -> None:
    manifest = small_classifier.manifest
    exported = Exported(target="onnx", path=small_classifier.path, manifest=manifest, seconds=1.0, notes=("a note",))
    lines = shown(ExportResult(artifacts=(exported,), warnings=("nothing said how pictures are prepared",)))
    error = f"{manifest.self_check.max_error:.1e}"
    size = f"{sum(entry.bytes for entry in manifest.files) / 1e6:.2f} MB"
    assert lines[0] == f"{small_classifier.path}: {size}, error {error} against FP32 PyTorch"
    assert lines[-2:] == ["a note", "warning: nothing said how pictures are prepared"]


def test_an_open_file_says_which_it_is(small_classifier: Any) -> None:
    with edgecvx.load(small_classifier.path) as model:
        assert repr(model) == f"<{small_classifier.path} open in onnxruntime>"


def test_ipython_asks_for_it() -> None:
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    benchmark = benchmark_sample.benchmark(benchmark_sample.laptop())
    for result in (validation(), validation().artifacts[0], benchmark, benchmark.devices[0].measured[0]):
        assert pretty(result) == str(result)
