"""A softmax behind the graph is computed by every format that has one, in the file's own runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lowerings import FP16_CLOSE, FP32_CLOSE, canonical, reference, run, worst
from opening import OpenSession, open_onnxruntime, open_openvino, open_tflite
from support import network, probe

from edgecvx.export.base import load_attribute
from edgecvx.export.formats import get_format
from edgecvx.graph.canonical import check_canonical
from edgecvx.graph.probabilities import ending_in_softmax
from edgecvx.runtimes.logits import softmax
from edgecvx.spec import Precision

RUNS: dict[str, tuple[str, OpenSession]] = {
    "onnx": ("onnxruntime", open_onnxruntime),
    "openvino": ("openvino", open_openvino),
    "tflite": ("ai_edge_litert", open_tflite),
    "tensorrt": ("onnxruntime", open_onnxruntime),
}


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
@pytest.mark.parametrize("name", RUNS)
def test_probabilities_are_the_softmax_of_the_network(name: str, precision: Precision, tmp_path: Path) -> None:
    package, opened = RUNS[name]
    pytest.importorskip(package)
    graph = ending_in_softmax(canonical(network(), batch=2))
    found = get_format(name)
    lowered = load_attribute(found.lower)(graph, load_attribute(found.options)(precision=precision))
    layout, x = lowered.inputs[0].layout, probe(2)
    answers = run(lowered, np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if layout == "NHWC" else x, tmp_path, opened)
    (logits,) = reference(network(), x)
    assert list(answers) == ["probabilities"]
    assert worst(answers, [softmax(logits)]) < 10 * (FP16_CLOSE if precision.half else FP32_CLOSE)
    assert worst(answers, [softmax(logits / 2)]) > 0.1  # the twin: as flat as another temperature makes it


def test_it_stands_behind_a_graph_that_stays_as_it_was() -> None:
    graph = canonical(network())
    ended = ending_in_softmax(graph)
    check_canonical(ended)
    assert [value.name for value in graph.graph.outputs] == ["logits"]
    assert [node.op_type for node in ended.graph] == [*(node.op_type for node in graph.graph), "Softmax"]
