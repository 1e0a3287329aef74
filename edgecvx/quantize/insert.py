"""From a plan to the quantized graph: the canonical graph with QuantizeLinear and DequantizeLinear in it.

Only standard operations are added, so the result runs as it is in any ONNX runtime and says exactly which numbers an
INT8 file has to compute; every lowering writes this one graph. Their names and places are in
``docs/canonical-graph.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.graph.canonical import DOMAIN, QUANTIZED_OPS, check_canonical
from edgecvx.graph.grids import BYTES, Grid, quantize_weight
from edgecvx.graph.pairs import Pairs
from edgecvx.graph.qdq import DEQUANTIZE, QUANTIZE
from edgecvx.graph.scheme import ACTIVATION, ACTIVATION_REACH, Scheme
from edgecvx.graph.values import LAYERS, array_of, name_of, producer, reads_picture, shape_of
from edgecvx.graph.writer import Writer, new_constant
from edgecvx.quantize.keep import Kept, keep
from edgecvx.quantize.plan import Decided, LayerPlan, TensorPlan
from edgecvx.quantize.smooth import smoothed_weight


def insert(graph: ir.Model, scheme: Scheme, plan: Decided | None, kept: Kept | None = None) -> ir.Model:
    """A quantized copy of a canonical graph.

    Args:
        graph: The canonical graph the plan was made for.
        scheme: Which tensors the target wants in INT8.
        plan: Their grids. A dynamic scheme quantizes the weights alone, and takes from a plan what smooths them; None
            where nobody looked at pictures.
        kept: What stays float; by the rules of ``edgecvx.quantize.keep`` where nothing is said.

    Raises:
        UsageError: The plan does not name a layer of the graph, or has another number of channels for it.
    """
    if plan is None and not scheme.dynamic:
        raise EdgecvxError("a static scheme needs a plan")
    kept = keep(graph, scheme, plan) if kept is None else kept
    model = ir.serde.deserialize_model(ir.serde.serialize_model(graph))
    inserter = _Inserter(model, scheme, kept)
    for node in list(model.graph):
        name = name_of(node.outputs[0])
        if node.op_type in LAYERS and scheme.quantizes(name) and name not in kept.floats:
            inserter.layer(node, None if plan is None else _of(plan, name))
        elif plan is not None and name.endswith(ACTIVATION) and (scheme.activations or scheme.activation_reach):
            if name not in plan.activations:
                raise UsageError(f"the plan has no {name!r}: calibrate this model again")
            inserter.activation(node, plan.activations[name])
    check_canonical(model, ops=QUANTIZED_OPS)
    return model


def _of(plan: Decided, layer: str) -> LayerPlan:
    if layer not in plan.layers:
        raise UsageError(f"the plan has no layer {layer!r}: calibrate this model again")
    return plan.layers[layer]


class _Inserter:
    """Rewrites one graph in place."""

    def __init__(self, model: ir.Model, scheme: Scheme, kept: Kept) -> None:
        self._graph = model.graph
        self._scheme = scheme
        self._kept = kept

    def layer(self, node: ir.Node, plan: LayerPlan | None) -> None:
        """Puts a layer into INT8: its weights, and with a plan its bias, its input and perhaps its output."""
        name = name_of(node.outputs[0])
        weight = array_of(node.inputs[1])
        scales = None
        if plan is not None:
            weight = self._smooth(node, weight, plan.smoothing)
        if plan is not None and not self._scheme.dynamic:
            scales = _vector(plan.weight_scales, weight.shape[0], f"{name}: weight_scales")
        rounded = self._weight(node, weight, scales, self._scheme.pairs_in(name, weight.shape))
        if plan is None or self._scheme.dynamic:
            return
        if plan.bias_correction:
            # It takes back what one rounding does: a channel that is rounded on another scale than the plan's has none.
            added = _vector(plan.bias_correction, weight.shape[0], f"{name}: bias_correction")
            self._correct(node, np.where(rounded == scales, added, np.float32(0)))
        self._input(node, plan.input.grid(symmetric=self._scheme.symmetric))
        if self._scheme.quantizes_output(name) and name not in self._kept.outputs:
            self.output(node, plan.output.grid(symmetric=self._scheme.symmetric))

    def activation(self, node: ir.Node, plan: TensorPlan) -> None:
        """Says how far an activation function reached, and puts it on a grid, where the scheme asks for it."""
        if self._scheme.activation_reach:
            node.metadata_props[ACTIVATION_REACH] = repr(max(abs(plan.low), abs(plan.high)))
        if self._scheme.activations:
            self.output(node, plan.grid(symmetric=self._scheme.symmetric))

    def output(self, node: ir.Node, grid: Grid) -> None:
        """Puts what a node returns on a grid; everybody who read it reads the grid's numbers."""
        value = node.outputs[0]
        readers = [(use.node, use.idx) for use in value.uses()]
        result, pair = self._pair(value, grid, name_of(value), f"{name_of(value)}.dequantized")
        self._graph.insert_after(node, pair)
        for reader, index in readers:
            reader.replace_input_with(index, result)
        outputs = self._graph.outputs
        for index, output in enumerate(outputs):
            if output is value:  # the file still returns it under its own name
                value.name, result.name = f"{value.name}.exact", value.name
                outputs[index] = result

    def _smooth(self, node: ir.Node, weight: NDArray[np.float32], smoothing: tuple[float, ...]) -> NDArray[np.float32]:
        """Divides a layer's input by one number per channel, and multiplies its weights by it (identity 5)."""
        if not smoothing:
            return weight
        name = name_of(node.outputs[0])
        scales = _vector(smoothing, weight.shape[1], f"{name}: smoothing").astype(np.float64)
        source, below = node.inputs[0], producer(node.inputs[0])
        if source is None or below is None or len(source.uses()) != 1:
            raise UsageError(f"{name}: its input has other readers, so it cannot be smoothed")
        column = scales.reshape(1, -1, *[1] * (len(shape_of(source)) - 2))
        if below.domain == DOMAIN and below.op_type in ("Grn", "GrnL2"):
            for index in (1, 2):  # x * (base + gamma * N): both carry the division
                self._replace(below, index, array_of(below.inputs[index]) / column)
        else:
            factor = self._constant(f"{name}.smoothing", (1.0 / column).astype(np.float32))
            write = Writer()
            product = write.op("Mul", [source, factor], name=f"{name}.smoothed", shape=shape_of(source))
            self._graph.insert_before(node, write.nodes)
            node.replace_input_with(0, product)
        return smoothed_weight(weight, scales)

    def _weight(
        self,
        node: ir.Node,
        weight: NDArray[np.float32],
        scales: NDArray[np.float32] | None,
        pairs: Sequence[Pairs],
    ) -> NDArray[np.float32]:
        """Puts the weights into int8; their scales, some of which the pairs may have made coarser."""
        quantized = quantize_weight(weight, scales, pairs, of_picture=reads_picture(node))
        old = node.inputs[1]
        name = name_of(old)
        values = self._constant(f"{name}.int8", quantized.values)
        scale = self._constant(f"{name}.scale", quantized.scales)
        write = Writer()
        result = write.op(DEQUANTIZE, [values, scale], {"axis": 0}, name=f"{name}.dequantized", shape=weight.shape)
        self._graph.insert_before(node, write.nodes)
        node.replace_input_with(1, result)
        if old is not None and not old.uses():
            del self._graph.initializers[name]
        return quantized.scales

    def _correct(self, node: ir.Node, added: NDArray[np.float32]) -> None:
        """Adds the plan's correction to the bias, which is made where there was none."""
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            self._replace(node, 2, array_of(node.inputs[2]) + added)
            return
        name = name_of(node.inputs[1]).removesuffix(".weight.dequantized")
        node.resize_inputs(3)
        node.replace_input_with(2, self._constant(f"{name}.bias", added))

    def _input(self, node: ir.Node, grid: Grid) -> None:
        """Quantizes what a layer reads; a picture's bytes stay as they are."""
        source = node.inputs[0]
        if producer(source, "Cast") is not None:
            grid = BYTES
        name = f"{name_of(node.outputs[0])}.input"
        result, pair = self._pair(source, grid, name, name)
        self._graph.insert_before(node, pair)
        node.replace_input_with(0, result)

    def _pair(self, source: ir.Value | None, grid: Grid, name: str, result: str) -> tuple[ir.Value, list[ir.Node]]:
        """A QuantizeLinear and a DequantizeLinear: what the second gives, called ``result``, and the two."""
        scale = self._constant(f"{name}.scale", np.asarray(grid.scale, np.float32))
        zero_point = self._constant(f"{name}.zero_point", np.asarray(grid.zero_point, np.int8))
        shape, write = shape_of(source), Writer()
        integers = write.op(
            QUANTIZE, [source, scale, zero_point], name=f"{name}.int8", shape=shape, dtype=ir.DataType.INT8
        )
        return write.op(DEQUANTIZE, [integers, scale, zero_point], name=result, shape=shape), write.nodes

    def _constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        self._graph.initializers[name] = value = new_constant(name, array)
        return value

    def _replace(self, node: ir.Node, index: int, array: NDArray[np.floating]) -> None:
        """Another content for a constant of one node."""
        name = name_of(node.inputs[index])
        del self._graph.initializers[name]
        node.replace_input_with(index, self._constant(name, np.asarray(array, np.float32)))


def _vector(numbers: tuple[float, ...], length: int, what: str) -> NDArray[np.float32]:
    if len(numbers) != length:
        raise UsageError(f"{what} has {len(numbers)} numbers, the layer has {length} channels: calibrate again")
    return np.asarray(numbers, np.float32)
