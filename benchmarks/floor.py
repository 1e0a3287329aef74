"""The int8 products of a network and nothing else, for each runtime: the floor no INT8 file of it can get below.

Every dense product (stem, 1x1 convolutions, downsamples, classifier) stands as one matrix product of int8 tensors in
its own shape with weights of its own, beside the others instead of behind them: no elementwise op, no quantization, no
layout change between them. Products of the same input shape share an input. Depthwise convolutions are no dense
products and not part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.spec import STRIDE, ArchSpec

Run = Callable[[], object]
SCALE = 0.02
"""Of every tensor: what the numbers are does not matter for how long they take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """``[rows, inner] x [inner, columns]``."""

    rows: int
    inner: int
    columns: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.rows * self.inner * self.columns


def products_of(arch: ArchSpec, size: int, classes: int) -> tuple[Product, ...]:
    """Every dense product of a network with a patch stem, in its order."""
    found, before, side = [], 3, size
    for stage, (depth, width) in enumerate(zip(arch.depths, arch.dims, strict=True)):
        patch = 4 if stage == 0 else 2
        side //= patch
        found.append(Product(rows=side**2, inner=before * patch**2, columns=width))
        for _ in range(depth):
            found.append(Product(rows=side**2, inner=width, columns=4 * width))
            found.append(Product(rows=side**2, inner=4 * width, columns=width))
        before = width
    if side * STRIDE != size:
        raise SystemExit(f"{arch.name} at {size} px does not end {size // STRIDE} pixels wide")
    return (*found, Product(rows=1, inner=before, columns=classes))


def tflite(products: tuple[Product, ...], path: Path, threads: int) -> Run:
    """As 1x1 convolutions with int8 outputs: what XNNPACK makes its products of."""
    from ai_edge_litert.interpreter import Interpreter

    from edgecvx.export.tflite.writer import Quantization, Writer

    writer, draw = Writer(), np.random.default_rng(0)
    one = Quantization(scales=(SCALE,), zero_points=(0,))
    inputs = {
        (p.rows, p.inner): writer.tensor(f"input_{p.rows}_{p.inner}", (1, p.rows, 1, p.inner), "int8", quantization=one)
        for p in products
    }
    outputs = {}
    for i, p in enumerate(products):
        each = Quantization(scales=(SCALE,) * p.columns, zero_points=(0,) * p.columns)
        bias = Quantization(scales=(SCALE**2,) * p.columns, zero_points=(0,) * p.columns)
        weights = weights_of(p, draw).T.reshape(p.columns, 1, 1, p.inner)
        out = writer.tensor(f"product_{i}", (1, p.rows, 1, p.columns), "int8", quantization=one)
        options = writer.schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = writer.schema.Padding.VALID, 1, 1
        options.dilationHFactor = options.dilationWFactor = 1
        w = writer.constant(f"weights_{i}", weights, quantization=each)
        b = writer.constant(f"bias_{i}", np.full(p.columns, i, np.int32), quantization=bias)
        writer.operator("CONV_2D", [inputs[p.rows, p.inner], w, b], [out], options, version=3)
        outputs[f"product_{i}"] = out
    path = path.with_suffix(".tflite")
    named = {f"input_{rows}_{inner}": tensor for (rows, inner), tensor in inputs.items()}
    path.write_bytes(writer.finish(named, outputs, "int8 products"))
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], pixels(tuple(detail["shape"]), draw))
    return lambda: interpreter.invoke()


def onnx(products: tuple[Product, ...], path: Path, threads: int) -> Run:
    """As ``MatMulInteger``, bytes by int8, into memory that is there already."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper, save

    draw = np.random.default_rng(0)
    inputs = {f"input_{p.rows}_{p.inner}": (p.rows, p.inner) for p in products}
    nodes = [
        helper.make_node("MatMulInteger", [f"input_{p.rows}_{p.inner}", f"weights_{i}"], [f"product_{i}"])
        for i, p in enumerate(products)
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name, shape in inputs.items()],
        [
            helper.make_tensor_value_info(f"product_{i}", TensorProto.INT32, (p.rows, p.columns))
            for i, p in enumerate(products)
        ],
        [numpy_helper.from_array(weights_of(p, draw), f"weights_{i}") for i, p in enumerate(products)],
    )
    path = path.with_suffix(".onnx")
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, shape in inputs.items():
        binding.bind_cpu_input(name, draw.integers(0, 256, shape, np.uint8))
    for i, p in enumerate(products):
        memory = onnxruntime.OrtValue.ortvalue_from_shape_and_type((p.rows, p.columns), np.int32)
        binding.bind_ortvalue_output(f"product_{i}", memory)
    return lambda: session.run_with_iobinding(binding)


def openvino(products: tuple[Product, ...], path: Path, threads: int) -> Run:
    """As int8 ``MatMul``, whose result is rounded to int8 again in the product's own last step."""
    import openvino as ov
    from openvino import opset13 as op

    draw = np.random.default_rng(0)
    inputs: dict[tuple[int, int], Any] = {
        (p.rows, p.inner): op.parameter([p.rows, p.inner], np.int8, name=f"input_{p.rows}_{p.inner}") for p in products
    }
    low, high = np.float32(-128 * SCALE), np.float32(127 * SCALE)
    results = []
    for p in products:
        x = op.multiply(op.convert(inputs[p.rows, p.inner], np.float32), np.float32(SCALE))
        scales = np.full((p.columns, 1), SCALE / 8, np.float32)
        w = op.multiply(op.convert(op.constant(weights_of(p, draw).T.copy()), np.float32), scales)
        y = op.fake_quantize(op.matmul(x, w, False, True), low, high, np.float32(-128), np.float32(127), 256)
        results.append(op.result(op.convert(y, np.int8)))
    model = ov.Model(results, list(inputs.values()), "products")
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(model, "CPU", {**settings, "INFERENCE_NUM_THREADS": str(threads)})
    request = compiled.create_infer_request()
    for i, (rows, inner) in enumerate(inputs):
        request.set_input_tensor(i, ov.Tensor(pixels((rows, inner), draw)))
    return lambda: request.infer()


FLOORS: Mapping[str, Callable[[tuple[Product, ...], Path, int], Run]] = {
    "onnx": onnx,
    "openvino": openvino,
    "tflite": tflite,
}


def weights_of(p: Product, draw: np.random.Generator) -> NDArray[np.int8]:
    return draw.integers(-127, 128, (p.inner, p.columns), np.int8)


def pixels(shape: tuple[int, ...], draw: np.random.Generator) -> NDArray[np.int8]:
    return draw.integers(-128, 128, shape, np.int8)
