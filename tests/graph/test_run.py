"""The reference of an INT8 file: the quantized graph, node by node, for any number of pictures."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import support
from lowerings import canonical
from onnx.reference import ReferenceEvaluator
from quantized import images_of, quantized

from edgecvx.graph.run import execute
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.spec import Task

EVERYTHING = Scheme(outputs=frozenset(Role), activations=True)


def graph_of(task: Task = Task.CLASSIFY, batch: int = 1) -> ir.Model:
    return canonical(support.network(num_classes=5), task=task, size=32, batch=batch)


def test_it_computes_what_onnx_says_of_the_graph() -> None:
    """ONNX's own reference implementation, which knows nothing of ONNX Runtime."""
    graph = graph_of()
    images = images_of(graph)
    near = quantized(graph, EVERYTHING, images)
    (simulated,) = execute(near, [image[0] for image in images])
    reference = ReferenceEvaluator(ir.to_proto(near))
    expected = np.concatenate([row for image in images for row in reference.run(None, {"image": image})])
    # Sums in another order put a few numbers on the next step of a grid: far less than quantizing itself changes.
    moved = support.relative_error(simulated, expected)
    rounded = support.relative_error(execute(graph, [image[0] for image in images])[0], expected)
    assert moved < 0.02 and moved < 0.5 * rounded


@pytest.mark.parametrize("batch,count", [(1, 3), (4, 3), (2, 5)])
def test_any_number_of_pictures_goes_through_any_batch(batch: int, count: int) -> None:
    pictures = [image[0] for image in images_of(graph_of(), count)]
    (one_by_one,) = execute(graph_of(), pictures)
    (logits,) = execute(graph_of(batch=batch), pictures)
    assert logits.shape == (count, 5)
    support.assert_close(logits, one_by_one, 1e-5, why="float32, sums in another order")


def test_outputs_come_in_the_graph_s_order() -> None:
    graph = graph_of(Task.FEATURES)
    maps = execute(graph, [image[0] for image in images_of(graph, 2)])
    assert [m.shape for m in maps] == [(2, 8, 8, 8), (2, 16, 4, 4), (2, 24, 2, 2), (2, 32, 1, 1)]
