"""Writes INT8 files of many random networks and looks at every pair of their weights.

    python tools/sweep_pairs.py                # 1,000 networks: ONNX in both forms and OpenVINO, some minutes
    python tools/sweep_pairs.py --networks 20

Every variant's stem, at widths that leave channels over, with rows of one sign, extreme scales, outliers and zeros in
every layer. Each file is read back from its bytes; a pair that can overflow is named, and ends the sweep with 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch

from edgecvx.export.base import Lowered, Options
from edgecvx.export.onnx import lower as onnx
from edgecvx.export.onnx.reader import read_products as read_onnx_products
from edgecvx.export.openvino import lower as openvino
from edgecvx.export.openvino import reader as openvino_inspection
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
from edgecvx.graph.grids import as_float32, grid_of_range, room_for_bias, weight_scales
from edgecvx.graph.pairs import PairCheck, check_pairs
from edgecvx.graph.scheme import ACTIVATION
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.models.variants import VARIANTS
from edgecvx.quantize.insert import insert
from edgecvx.quantize.plan import LayerPlan, QuantPlan, TensorPlan
from edgecvx.spec import ArchSpec, Calibration, InputKind, Precision, Task
from edgecvx.targets import get_target

SIZE = 32
"""Pixels: the smallest picture a network takes; no weight depends on it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweeps as many networks as the command line asks for; 0 where no pair can overflow."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=1000)
    count = parser.parse_args(arguments).networks
    files = pairs = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(count):
            for name, found in checked(hard_network(seed), Path(folder)):
                files, pairs = files + 1, pairs + found.pairs
                if found.overflowing:
                    print(f"network {seed}, {name}: {found}")
                    return 1
            if sys.stderr.isatty():
                print(f"\r{seed + 1} of {count}", end="", file=sys.stderr)
    print(f"{count} networks, {files} files, {pairs:,} pairs of int8 weights: none can overflow")
    return 0


def hard_network(seed: int) -> ConvNeXt:
    """A network of a variant's depths and stem, narrow, with the weights that ask for the worst."""
    draw = np.random.default_rng(seed)
    base = list(VARIANTS.values())[seed % len(VARIANTS)]
    widths = sorted(int(w) for w in draw.integers(3, 40, 4))
    arch: ArchSpec = dataclasses.replace(base, depths=tuple(min(d, 2) for d in base.depths), dims=tuple(widths))
    if base.stem != "patch":
        arch = dataclasses.replace(arch, stem_mid=max(2, widths[0] // 2))
    network = initialize(ConvNeXt(arch, int(draw.integers(2, 12))), seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.from_numpy(hardened(parameter.numpy(), draw)))
    return network


def hardened(weight: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """One of several things that weights of a channel can be, for each channel."""
    weight = weight.copy()
    for channel in weight:
        kind = draw.integers(8)
        if kind == 0:
            np.abs(channel, out=channel)
        elif kind == 1:
            channel[...] = draw.choice([-1.0, 1.0])
        elif kind == 2:
            channel *= 10.0 ** draw.uniform(-6, 6)
        elif kind == 3:
            channel[...] = np.where(draw.random(channel.shape) < 0.05, 1e3, channel)
        elif kind == 4:
            channel[...] = 0.0
        elif kind == 5:
            channel[...] = draw.integers(-2, 3, channel.shape) / 2  # every rounding a tie
    return weight


def checked(network: ConvNeXt, folder: Path) -> Iterator[tuple[str, PairCheck]]:
    """Every file of a network that some runtime adds up in pairs, read back."""
    graph = build_canonical(fold(network, task=Task.CLASSIFY).module, task=Task.CLASSIFY, image_size=SIZE)
    layers = {str(n.outputs[0].name): n for n in graph.graph if n.op_type in ("Conv", "Gemm")}
    anything = TensorPlan(
        low=-4.0,
        high=4.0,
        estimator="minmax",
        asymmetric=grid_of_range(-4.0, 4.0, symmetric=False),
        symmetric=grid_of_range(-4.0, 4.0, symmetric=True),
    )
    scales = {name: scales_of(layer, anything.asymmetric.scale) for name, layer in layers.items()}
    plan = QuantPlan(
        model="swept",
        weights_sha256="0" * 64,
        image_size=SIZE,
        input_kind=InputKind.FLOAT,
        folds=(),
        engine="edgecvx",
        calibration=Calibration(kind="demo", name="demo", count=1, sha256="0" * 64, pictures=("0" * 64,)),
        agreement=None,
        layers={
            name: LayerPlan(input=anything, output=anything, weight_scales=tuple(as_float32(float(s)) for s in found))
            for name, found in scales.items()
        },
        activations={
            str(n.outputs[0].name): anything for n in graph.graph if str(n.outputs[0].name).endswith(ACTIVATION)
        },
    )
    for precision in (Precision.INT8, Precision.INT8_DYNAMIC):
        scheme = get_target("onnx").schemes[precision]
        quantized = insert(graph, scheme, None if scheme.dynamic else plan)
        options = onnx.OnnxOptions(precision=precision)
        yield (
            f"ONNX {precision.value}",
            check_pairs(read_onnx_products(written(onnx.lower(quantized, options), folder))),
        )
        if precision is Precision.INT8:
            plain = onnx.lower(quantized, dataclasses.replace(options, form="plain"))
            yield "ONNX, plain", check_pairs(read_onnx_products(written(plain, folder)))
    lowered = openvino.lower(
        insert(graph, get_target("openvino").schemes[Precision.INT8], plan),
        Options(precision=Precision.INT8),
    )
    yield "OpenVINO", check_pairs(openvino_inspection.read_products(written(lowered, folder)))


def scales_of(layer: ir.Node, input_scale: float) -> np.ndarray:
    """Of a layer's weights, with room for its bias: as a plan has them."""
    weight, *bias = (value.const_value.numpy() for value in layer.inputs[1:] if value and value.const_value)
    return room_for_bias(weight_scales(weight), bias[0], input_scale) if bias else weight_scales(weight)


def written(lowered: Lowered, folder: Path) -> Path:
    """The first of a lowering's files, on the disk beside its others."""
    paths = [folder / f"swept{suffix}" for suffix in lowered.files]
    for path, content in zip(paths, lowered.files.values(), strict=True):
        path.write_bytes(content)
    return paths[0]


if __name__ == "__main__":
    sys.exit(main())
