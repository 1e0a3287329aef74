"""What a graph computes, operation by operation: the reference of an INT8 file, and of every inner tensor.

ONNX Runtime does it with every optimization off, so that nothing is fused or reordered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.board.batches import in_batches
from edgecvx.board.engines.onnxruntime import import_onnxruntime
from edgecvx.errors import missing_package

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

Array = NDArray[Any]


class Execution:
    """An ONNX model in memory, run as it stands.

    Args:
        model: The model.
        outputs: Its name of each output that is wanted -> the name it is returned under; all as they are by default.
        threads: How many threads an operation may use.

    Raises:
        RuntimeUnavailableError: ONNX Runtime is not installed.
    """

    def __init__(self, model: onnx.ModelProto, outputs: Mapping[str, str] | None = None, *, threads: int = 1) -> None:
        try:
            onnxruntime = import_onnxruntime()
        except ModuleNotFoundError as error:
            raise missing_package("onnxruntime, which computes what a file is held to,", "onnx") from error
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        self.inputs = {value.name: tuple(value.shape) for value in self._session.get_inputs()}
        """Name -> shape."""
        self.outputs = outputs or {value.name: value.name for value in self._session.get_outputs()}

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name; arrays that the model does not take are ignored."""
        fed = {name: np.ascontiguousarray(arrays[name]) for name in self.inputs}
        results = self._session.run(list(self.outputs), fed)
        return dict(zip(self.outputs.values(), results, strict=True))


def execute(graph: ir.Model, pictures: Sequence[Array]) -> list[Array]:
    """Runs pictures through a canonical or quantized graph.

    Args:
        graph: The graph.
        pictures: Each as the graph takes it, without the batch axis; any number, whatever the graph's batch.

    Returns:
        The graph's outputs, in its order, one row per picture.

    Raises:
        RuntimeUnavailableError: ONNX Runtime is not installed.
    """
    import onnx_ir as ir

    execution = Execution(ir.to_proto(graph))
    ((image, shape),) = execution.inputs.items()
    found = in_batches(lambda part: execution.run({image: np.stack(part)}), pictures, shape[0])
    return [found[name] for name in execution.outputs]
