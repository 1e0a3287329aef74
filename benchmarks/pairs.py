"""What it costs that no pair of int8 weights can overflow, way by way.

    python benchmarks/pairs.py                                # femto and atto, 400 pictures, into benchmarks/out/
    python benchmarks/pairs.py --variants atto --pictures 100

Each way is the ONNX file itself, in ONNX Runtime, on a processor whose sums are exact. A single rounding of all
weights moves the signal to noise ratio by half a decibel either way, so each way is rounded on ``ROUNDINGS`` sets of
scales that differ by up to 2%, and noise powers are averaged. ``weights`` is the same ratio of the weights alone.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import onnxruntime
from networks import calibration_pictures, images, validation_pictures
from numpy.typing import NDArray
from options import plan_of
from paths import OUT

from edgecvx.export.onnx.lower import OnnxOptions, lower
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
from edgecvx.graph.grids import Weight, quantize_weight, weight_scales
from edgecvx.graph.pairs import PAIR_LIMIT, Pairs
from edgecvx.graph.qdq import weight_of
from edgecvx.graph.scheme import Role, Scheme, role_of
from edgecvx.graph.values import array_of, name_of
from edgecvx.models.load import load_model
from edgecvx.quantize import insert
from edgecvx.quantize.decide import decide
from edgecvx.quantize.observe.calibrate import calibrate
from edgecvx.quantize.plan import QuantPlan
from edgecvx.spec import CALIBRATION_PICTURES, Precision
from edgecvx.targets import get_target

Rounding = Callable[..., Weight]
ROUNDINGS = (1.0, 1.007, 1.013, 1.021)
"""Factors on all weight scales."""
SCHEME = get_target("onnx").schemes[Precision.INT8]
FREE = dataclasses.replace(SCHEME, pairs=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to keep pairs within the limit, or not to."""

    name: str
    scheme: Scheme = SCHEME
    rounding: Rounding = quantize_weight
    reordered: bool = False


def nearest(
    weight: NDArray[np.float32], scales: NDArray[np.float32], pairs: tuple[Pairs, ...] = (), *, of_picture: bool = False
) -> Weight:
    """Every weight to the integer next to it, the stem's too."""
    return quantize_weight(weight, scales, pairs)


def seven_bits(weight: NDArray[np.float32], scales: NDArray[np.float32], *_: object, **__: object) -> Weight:
    """What other tools offer for such processors: no weight over 64, in any layer."""
    return quantize_weight(weight, 2 * scales)


WAYS = (
    Way(name="pairs may overflow, nearest integers (as before)", scheme=FREE, rounding=nearest),
    Way(name="7 bits for every weight", scheme=FREE, rounding=seven_bits),
    Way(name="coarser scales where needed, nearest integers", rounding=nearest),
    Way(name="the same, hidden channels in the best order", rounding=nearest, reordered=True),
    Way(name="**coarser scales where needed, stem rounded for pictures**"),
    Way(name="the same, hidden channels in the best order", reordered=True),
    Way(name="pairs may overflow, stem rounded for pictures", scheme=FREE),
)


def main() -> None:
    """Writes one table per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["femto", "atto"])
    parser.add_argument("--pictures", type=int, default=400)
    options = parser.parse_args()
    pictures, _ = validation_pictures(options.pictures)
    for variant in options.variants:
        graph = build_canonical(fold(load_model(variant, weights="demo").module).module)
        expected = logits_of(lower(graph, OnnxOptions()).files[".onnx"], pictures)
        roles = [role.value for role in (Role.STEM, Role.DOWNSAMPLE, Role.FC1, Role.FC2, Role.CLASSIFIER)]
        lines = [
            f"{variant}, {len(pictures)} drawn pictures: signal to noise ratio in dB",
            "",
            f"| way | logits, {len(ROUNDINGS)} roundings | flips | weights: {' | '.join(roles)} |",
            f"|{'---|' * (3 + len(roles))}",
        ]
        plain, ordered = graph, reordered(graph, plan_for(graph))
        plans = {id(plain): plan_for(plain), id(ordered): plan_for(ordered)}
        for way in WAYS:
            source = ordered if way.reordered else plain
            lines.append(row(way, source, plans[id(source)], pictures, expected))
            print(lines[-1], flush=True)
        OUT.mkdir(exist_ok=True)
        (OUT / f"pairs-{variant}.md").write_text("\n".join(lines) + "\n")


def plan_for(graph: ir.Model) -> QuantPlan:
    """The usual plan of a graph."""
    stats = calibrate(graph, images(np.load(calibration_pictures(CALIBRATION_PICTURES))))
    return plan_of(decide(graph, stats))


def row(way: Way, graph: ir.Model, plan: QuantPlan, pictures: NDArray[np.uint8], expected: NDArray[np.float32]) -> str:
    """A way's line of the table."""
    noise, flips, kinds = [], [], []
    usual = insert.quantize_weight
    for factor in ROUNDINGS:

        def rounded(weight: NDArray[np.float32], scales: NDArray[np.float32], *rest: object, **named: object) -> Weight:
            return way.rounding(weight, np.asarray(scales * factor, np.float32), *rest, **named)  # noqa: B023

        insert.quantize_weight = rounded  # type: ignore[assignment]
        try:
            quantized = insert.insert(graph, way.scheme, plan)
        finally:
            insert.quantize_weight = usual
        actual = logits_of(lower(quantized, OnnxOptions(precision=Precision.INT8)).files[".onnx"], pictures)
        noise.append(float(np.square(actual - expected).sum() / np.square(expected).sum()))
        flips.append(float((actual.argmax(axis=1) != expected.argmax(axis=1)).mean()))
        kinds.append(weight_noise(graph, quantized, plan))
    single = ", ".join(f"{decibels(n):.1f}" for n in noise)
    alone = " | ".join(f"{decibels(float(np.mean([k[role] for k in kinds]))):.1f}" for role in kinds[0])
    return f"| {way.name} | {decibels(float(np.mean(noise))):.1f} ({single}) | {np.mean(flips):.2%} | {alone} |"


def weight_noise(graph: ir.Model, quantized: ir.Model, plan: QuantPlan) -> Mapping[str, float]:
    """What rounding does to the weights of each kind of layer, as a part of their squares: the mean over layers."""
    exact = {name_of(n.outputs[0]): array_of(n.inputs[1]) for n in graph.graph if n.op_type in ("Conv", "Gemm")}
    found: dict[str, list[float]] = {}
    for node in quantized.graph:
        name = name_of(node.outputs[0]).removesuffix(".exact")
        weight = weight_of(node.inputs[1]) if node.op_type in ("Conv", "Gemm") else None
        if weight is None or (role := role_of(name)) is Role.DEPTHWISE:
            continue
        smoothing = np.asarray(plan.layers[name].smoothing or 1.0).reshape(1, -1, *[1] * (weight.values.ndim - 2))
        meant = exact[name] * smoothing
        error = np.square(weight.dequantize() - meant).sum() / np.square(meant).sum()
        found.setdefault(role.value, []).append(float(error))
    order = (Role.STEM, Role.DOWNSAMPLE, Role.FC1, Role.FC2, Role.CLASSIFIER)
    return {role.value: float(np.mean(found[role.value])) for role in order}


def decibels(noise: float) -> float:
    """A noise power as a signal to noise ratio."""
    return float(-10 * np.log10(noise))


def logits_of(content: bytes, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a file answers."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image})[0] for image in images(pictures)])


def reordered(graph: ir.Model, plan: QuantPlan) -> ir.Model:
    """The same function with the hidden channels of each MLP in the order in which fc2's pairs ask for least."""
    model = ir.serde.deserialize_model(ir.serde.serialize_model(graph))
    for fc2 in model.graph:
        name = name_of(fc2.outputs[0])
        if not name.endswith(".mlp.fc2"):
            continue
        weight = array_of(fc2.inputs[1])[:, :, 0, 0] * np.asarray(plan.layers[name].smoothing or 1.0, np.float32)
        order = best_order(weight / weight_scales(weight)[:, None])
        grn = fc2.inputs[0].producer()  # type: ignore[union-attr]
        fc1 = grn.inputs[0].producer().inputs[0].producer()  # type: ignore[union-attr]
        for node, index, axis in ((fc2, 1, 1), (grn, 1, 1), (grn, 2, 1), (fc1, 1, 0), (fc1, 2, 0)):
            value = node.inputs[index]  # type: ignore[union-attr]
            value.const_value = ir.tensor(np.take(array_of(value), order, axis), name=value.name)  # type: ignore[union-attr]
    return model


def best_order(steps: NDArray[np.float32]) -> NDArray[np.intp]:
    """Input channels in pairs, by greed: the most dangerous first, each with the one that asks for least beside it."""
    channels = steps.shape[1]
    excess = np.zeros((channels, channels), np.float32)
    for row_ in steps:
        for signed in (row_, -row_):
            sums = np.maximum(signed[:, None] + signed[None, :] - PAIR_LIMIT, 0)
            excess += np.where((signed[:, None] > 0) & (signed[None, :] > 0), np.square(sums), 0)
    free, order = np.ones(channels, bool), list[int]()
    for first in np.argsort(-excess.mean(axis=1)):
        if free[first]:
            free[first] = False
            second = int(np.argmin(np.where(free, excess[first], np.inf)))
            free[second] = False
            order += [int(first), second]
    return np.asarray(order, np.intp)


if __name__ == "__main__":
    main()
