"""What a quantized graph computes, operation by operation: the reference an INT8 file is held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import missing_package
from edgecvx.onboard.settings import import_onnxruntime
from edgecvx.runtimes.base import batches

Array = NDArray[Any]


def simulate(graph: ir.Model, pictures: Sequence[Array]) -> list[Array]:
    """Runs pictures through a graph in ONNX Runtime with every optimization off, so that nothing is fused or reordered.

    Args:
        graph: A canonical or quantized graph.
        pictures: Each as the graph takes it, without the batch axis; any number, whatever the graph's batch.

    Returns:
        The graph's outputs, in its order, one row per picture.

    Raises:
        RuntimeUnavailableError: ONNX Runtime is not installed.
    """
    try:
        onnxruntime = import_onnxruntime()
    except ModuleNotFoundError as error:
        raise missing_package("onnxruntime, which computes the reference of an INT8 file,", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    content = ir.to_proto(graph).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    parts: list[list[Array]] = [[] for _ in session.get_outputs()]
    for part, kept in batches(pictures, image.shape[0]):
        for collected, array in zip(parts, session.run(None, {image.name: np.stack(part)}), strict=True):
            collected.append(array[:kept])
    return [np.concatenate(arrays) for arrays in parts]
