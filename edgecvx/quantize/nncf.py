"""Intel's NNCF as a second engine: its ranges, weight scales and bias correction, in our places and in our plan.

``nncf.quantize`` runs on the canonical graph, its functions written out, and is told to leave everything alone but
convolutions and the classifier. What it decided is read back from the Q/DQ nodes it put in. So one plan, one insertion
and the same lowerings serve both engines, and a comparison of the two compares decisions, nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.board.engines.openvino import without_telemetry
from edgecvx.errors import EdgecvxError, missing_package
from edgecvx.graph.grids import Grid, as_float32, grid_of_range, room_for_bias
from edgecvx.graph.qdq import DEQUANTIZE
from edgecvx.graph.values import LAYERS, constant_of, for_one_picture, is_constant, name_of, producer, reads_picture
from edgecvx.quantize.decide import Decisions, decide, numbers_of
from edgecvx.quantize.observe.observed import Statistics
from edgecvx.quantize.plan import LayerPlan, TensorPlan

Array = NDArray[Any]

PASSED_THROUGH = ("Flatten", "Reshape", "Identity")
"""A grid may stand before these instead of after them: they change no number."""


def decide_with_nncf(graph: ir.Model, pictures: Iterable[Array], stats: Statistics) -> Decisions:
    """Lets NNCF decide what it decides: input ranges, weight scales and corrected biases.

    It has nothing to say about tensors that only some targets put into int8, the outputs of layers and of the
    activation function: these get the range that was seen.

    Args:
        graph: The canonical graph, float.
        pictures: The calibration pictures, each as the graph takes it; gone through more than once.
        stats: What our own sweep saw of them.

    Raises:
        RuntimeUnavailableError: NNCF is not installed.
        EdgecvxError: NNCF left out a layer, or quantized it in a way that no plan can hold.
    """
    float_model = _written_out(graph)
    quantized = _quantized(float_model, pictures, stats.pictures, name_of(graph.graph.inputs[0]))
    before, after = (_Constants(ir.from_proto(model)) for model in (float_model, quantized))
    seen = decide(graph, stats, estimator="minmax", refinements=())
    layers = {name: _layer(name, plan, before, after) for name, plan in seen.layers.items()}
    for name in (name_of(node.outputs[0]) for node in graph.graph if node.op_type in LAYERS and reads_picture(node)):
        # NNCF takes back what its own rounding does to the mean; ours (``edgecvx.graph.rounding``) leaves it alone.
        layers[name] = dataclasses.replace(layers[name], bias_correction=())
    return dataclasses.replace(seen, layers=layers)


def _written_out(graph: ir.Model) -> onnx.ModelProto:
    """The graph for one picture, in standard operations, each named after its output as NNCF needs it."""
    proto = onnx.inliner.inline_local_functions(ir.to_proto(for_one_picture(graph)))
    for node in proto.graph.node:
        node.name = node.output[0]
    return proto


def _quantized(model: onnx.ModelProto, pictures: Iterable[Array], count: int, image: str) -> onnx.ModelProto:
    nncf = _load()
    from nncf.quantization.advanced_parameters import QuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    others = sorted({node.op_type for node in model.graph.node} - set(LAYERS))
    with _silenced():
        result = nncf.quantize(
            model,
            nncf.Dataset(pictures, lambda picture: {image: picture}),
            subset_size=count,
            preset=nncf.QuantizationPreset.MIXED,  # asymmetric activations; the symmetric grid follows from the range
            target_device=nncf.TargetDevice.ANY,
            ignored_scope=nncf.IgnoredScope(types=others, validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.DISABLE,  # it halves all weights; `insert` treats the pairs that need it
                activations_quantization_params=QuantizationParameters(per_channel=False),
                # Its default takes the mean of the pictures' ranges, which cuts off what is loud in some of them.
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )
    if not isinstance(result, onnx.ModelProto):
        raise EdgecvxError(f"NNCF returned a {type(result).__name__} instead of an ONNX model")
    return result


class _Constants:
    """A model with or without Q/DQ, and what stands before each layer in it."""

    def __init__(self, model: ir.Model) -> None:
        self._layers: Mapping[str, ir.Node] = {
            name_of(node.outputs[0]): node for node in model.graph if node.op_type in LAYERS
        }

    def grid(self, layer: str) -> Grid | None:
        """The grid of a layer's input; None where it has none."""
        node = producer(self._layers[layer].inputs[0])
        while node is not None and node.op_type in PASSED_THROUGH:
            node = producer(node.inputs[0])
        if node is None or node.op_type != DEQUANTIZE:
            return None
        scale, zero_point = (constant_of(v) for v in node.inputs[1:3])
        if scale.size != 1 or zero_point.dtype not in (np.int8, np.uint8):
            raise EdgecvxError(f"NNCF gave the input of {layer!r} {scale.size} scales of type {zero_point.dtype}")
        shift = 128 if zero_point.dtype == np.uint8 else 0
        return Grid(scale=as_float32(float(scale.item())), zero_point=int(zero_point.item()) - shift)

    def weight_scales(self, layer: str) -> NDArray[np.float32]:
        """One per output channel.

        Raises:
            EdgecvxError: The weights are not quantized.
        """
        node = producer(self._layers[layer].inputs[1], DEQUANTIZE)
        if node is None or not is_constant(node.inputs[0]):
            raise EdgecvxError(f"NNCF left the weights of {layer!r} in float")
        scales = constant_of(node.inputs[1]).astype(np.float32)
        return np.broadcast_to(scales, constant_of(node.inputs[0]).shape[:1])

    def bias(self, layer: str) -> NDArray[np.float64] | None:
        """A layer's bias; None where there is none."""
        bias = self._layers[layer].inputs[2:]
        return constant_of(bias[0]).astype(np.float64) if bias and bias[0] is not None else None


def _layer(name: str, seen: LayerPlan, before: _Constants, after: _Constants) -> LayerPlan:
    grid, old, new = after.grid(name), before.bias(name), after.bias(name)
    correction = np.zeros(0) if new is None else new - (0.0 if old is None else old)
    tensor = seen.input if grid is None else _tensor(seen.input, grid)
    scales = after.weight_scales(name)
    if new is not None:
        scales = room_for_bias(scales, new, min(tensor.asymmetric.scale, tensor.symmetric.scale))
    return LayerPlan(
        input=tensor,
        output=seen.output,
        weight_scales=numbers_of(scales),
        bias_correction=numbers_of(correction) if correction.any() else (),
    )


def _tensor(seen: TensorPlan, grid: Grid) -> TensorPlan:
    even = grid_of_range(grid.low, grid.high, symmetric=True)
    return dataclasses.replace(seen, estimator="nncf", asymmetric=grid, symmetric=even)


def _load() -> Any:
    try:
        with without_telemetry(), _quiet_output():
            import nncf
    except ModuleNotFoundError as error:
        raise missing_package("NNCF", "nncf") from error
    return nncf


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keeps NNCF's log, warnings and progress bars away from standard output, which may carry JSON."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with _quiet_output():
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _quiet_output() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
