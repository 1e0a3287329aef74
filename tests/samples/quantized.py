"""Quantized graphs of small networks, for the tests of everything that reads them."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from edgecvx.graph.grids import as_float32, grid_of_range, weight_scales
from edgecvx.graph.scheme import ACTIVATION, Scheme
from edgecvx.quantize.insert import insert
from edgecvx.quantize.keep import Kept
from edgecvx.quantize.plan import LayerPlan, QuantPlan, TensorPlan
from edgecvx.spec import Calibration, InputKind

Array = NDArray[Any]


def images_of(graph: ir.Model, count: int = 4, seed: int = 0) -> list[Array]:
    """Seeded inputs of the shape and type a graph takes."""
    (image,) = graph.graph.inputs
    draw = np.random.default_rng(seed)
    shape = tuple(int(d) for d in image.shape)  # type: ignore[union-attr, arg-type]
    if image.dtype is ir.DataType.UINT8:
        return [draw.integers(0, 256, shape, np.uint8) for _ in range(count)]
    return [draw.standard_normal(shape, np.float32) for _ in range(count)]


def run_onnx(graph: ir.Model, image: Array, values: Sequence[str] = ()) -> dict[str, Array]:
    """What a graph returns, and further values by name, node by node: onnxruntime with every optimization off."""
    proto = ir.to_proto(graph)
    have = [output.name for output in proto.graph.output]
    for name in values:
        if name not in have:
            proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image}), strict=True))


def plan_of(graph: ir.Model, images: Sequence[Array] | None = None, **changes: Any) -> QuantPlan:
    """A min-max plan for a canonical graph, from a few of its inputs."""
    images = images_of(graph) if images is None else images
    sources = {f"{_out(n)}.input": str(n.inputs[0].name) for n in graph.graph if _is_layer(n)}  # type: ignore[union-attr]
    outputs = [_out(n) for n in graph.graph if _is_layer(n) or _out(n).endswith(ACTIVATION)]
    wanted = sorted({*sources.values(), *outputs} - {"image"})
    ranges: dict[str, tuple[float, float]] = {}
    for image in images:
        for name, array in {**run_onnx(graph, image, wanted), "image": image}.items():
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = (min(low, float(array.min())), max(high, float(array.max())))
    layers = {
        _out(n): LayerPlan(
            input=tensor_plan(*ranges[sources[f"{_out(n)}.input"]]),
            output=tensor_plan(*ranges[_out(n)]),
            weight_scales=tuple(as_float32(float(s)) for s in weight_scales(n.inputs[1].const_value.numpy())),  # type: ignore[union-attr]
        )
        for n in graph.graph
        if _is_layer(n)
    }
    activations = {name: tensor_plan(*ranges[name]) for name in outputs if name.endswith(ACTIVATION)}
    fields: Mapping[str, Any] = {
        "model": "test",
        "weights_sha256": "0" * 64,
        "image_size": int(graph.graph.inputs[0].shape[2]),  # type: ignore[index, arg-type]
        "input_kind": InputKind.UINT8 if graph.graph.inputs[0].dtype is ir.DataType.UINT8 else InputKind.FLOAT,
        "folds": (),
        "engine": "edgecvx",
        "calibration": calibration_of(len(images)),
        "agreement": None,
        "layers": layers,
        "activations": activations,
    }
    return QuantPlan(**{**fields, **changes})


def calibration_of(count: int) -> Calibration:
    """The record of a calibration that never was."""
    hashes = tuple(hashlib.sha256(bytes([i])).hexdigest() for i in range(count))
    return Calibration(kind="demo", name="demo", count=count, sha256="0" * 64, pictures=hashes)


def tensor_plan(low: float, high: float) -> TensorPlan:
    """Min-max grids of a range."""
    return TensorPlan(
        low=low,
        high=high,
        estimator="minmax",
        asymmetric=grid_of_range(low, high, symmetric=False),
        symmetric=grid_of_range(low, high, symmetric=True),
    )


def quantized(
    graph: ir.Model,
    scheme: Scheme | None = None,
    images: Sequence[Array] | None = None,
    floats: Sequence[str] = (),
) -> ir.Model:
    """The quantized graph of a canonical graph, under a scheme; layers that match one of some patterns stay float."""
    scheme = Scheme() if scheme is None else scheme
    named = kept(graph, *floats) if floats else None
    return insert(graph, scheme, None if scheme.dynamic else plan_of(graph, images), named)


def kept(graph: ir.Model, *patterns: str) -> Kept:
    """Layers that stay float, by patterns of their names."""
    layers = (_out(node) for node in graph.graph if _is_layer(node))
    return Kept(floats={n: "a test wants it" for n in layers if any(fnmatch.fnmatchcase(n, p) for p in patterns)})


def _is_layer(node: ir.Node) -> bool:
    return node.op_type in ("Conv", "Gemm")


def _out(node: ir.Node) -> str:
    return str(node.outputs[0].name)
