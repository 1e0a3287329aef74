"""What each choice of a quantization is worth: the same network, quantized in one way after the other.

    python benchmarks/options.py                              # femto and atto, 2,000 pictures, into benchmarks/out/
    python benchmarks/options.py --variants atto --pictures 300

The quantized graph itself is run, before any lowering: what differs between two rows is the choice and nothing else.
``scaled`` is the same network with the input channels of its MLPs and downsamples multiplied by random factors from
1/16 to 16, and the weights behind them divided by the same; see ``others/scale_channels.py``.
"""

from __future__ import annotations

import argparse
import copy
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from networks import calibration_pictures, images, validation_pictures
from numpy.typing import NDArray
from paths import OUT
from torch import nn

from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
from edgecvx.graph.run import execute
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.models.convnext import Block, ConvNeXt, LayerNorm2d, Stage
from edgecvx.models.load import load_model
from edgecvx.proof.metrics import row_cosines
from edgecvx.quantize.decide import Decisions, decide
from edgecvx.quantize.insert import insert
from edgecvx.quantize.observe.calibrate import calibrate
from edgecvx.quantize.observe.estimators import Estimator
from edgecvx.quantize.observe.observed import Statistics
from edgecvx.quantize.plan import QuantPlan
from edgecvx.quantize.request import REFINEMENTS
from edgecvx.spec import CALIBRATION_PICTURES, Calibration, InputKind

INPUTS = Scheme()
EVERYTHING = Scheme(outputs=frozenset(Role) - {Role.CLASSIFIER}, activations=True, symmetric=True)
SCHEMES = {
    "inputs": INPUTS,
    "inputs, zero point 0": Scheme(symmetric=True),
    "inputs and outputs, zero point 0": EVERYTHING,
}
CHUNK = 100
"""Pictures in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One row of the table; what is not said is the default."""

    name: str
    estimator: Estimator = "auto"
    refinements: tuple[str, ...] = REFINEMENTS
    samples: int = CALIBRATION_PICTURES
    scaled: bool = False
    folds: tuple[str, ...] | None = None


CHOICES = (
    Choice(name="as it is by default"),
    Choice(name="without smoothing", refinements=("bias-correction",)),
    Choice(name="without bias correction", refinements=("smoothing",)),
    Choice(name="without either", refinements=()),
    Choice(name="minmax", estimator="minmax"),
    Choice(name="minmax, without either", estimator="minmax", refinements=()),
    Choice(name="percentile", estimator="percentile"),
    Choice(name="mse", estimator="mse"),
    *(Choice(name=f"{n} calibration pictures", samples=n) for n in (4, 16, 64)),
    Choice(name="scaled checkpoint", scaled=True),
    Choice(name="scaled checkpoint, nothing folded", scaled=True, folds=()),
)


def main() -> None:
    """Writes one table per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["femto", "atto"])
    parser.add_argument("--pictures", type=int, default=2000)
    options = parser.parse_args()
    pictures, labels = validation_pictures(options.pictures)
    for variant in options.variants:
        expected = _logits(_graph(variant, scaled=False, folds=None), pictures)
        lines = [
            f"{variant}, {len(pictures)} drawn pictures, FP32 top-1 {_top1(expected, labels):.1%}",
            "",
            "| quantized | choice | drop, points | flips | mean cosine | signal to noise, dB |",
            "|---|---|---|---|---|---|",
        ]
        for choice in CHOICES:
            graph = _graph(variant, choice.scaled, choice.folds)
            plan = _plan(graph, _statistics(variant, choice.scaled, choice.folds, choice.samples), choice)
            for name, scheme in SCHEMES.items():
                actual = _logits(insert(graph, scheme, plan), pictures)
                lines.append(f"| {name} | {choice.name} | {_figures(actual, expected, labels)} |")
                print(lines[-1], flush=True)
        OUT.mkdir(exist_ok=True)
        (OUT / f"options-{variant}.md").write_text("\n".join(lines) + "\n")


@functools.cache
def _graph(variant: str, scaled: bool, folds: tuple[str, ...] | None) -> ir.Model:
    module = load_model(variant, weights="demo").module
    return build_canonical(fold(_scaled(module) if scaled else module, folds).module)


def _scaled(module: ConvNeXt) -> ConvNeXt:
    """The same function with uneven channels: powers of two, which change no bit of a product."""
    module, draw = copy.deepcopy(module), torch.Generator().manual_seed(0)
    stages = [stage for stage in module.stages if isinstance(stage, Stage)]
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (b.norm, b.mlp.fc1) for stage in stages for b in stage.blocks if isinstance(b, Block)
    ]
    pairs += [(stage.downsample[0], stage.downsample[1]) for stage in stages if stage.downsample is not None]
    with torch.no_grad():
        for norm, layer in pairs:
            if not isinstance(norm, LayerNorm2d) or norm.weight is None or norm.bias is None:
                raise SystemExit("the checkpoint is folded already")
            factors = torch.exp2(torch.randint(-4, 5, norm.weight.shape, generator=draw).float())
            norm.weight.mul_(factors)
            norm.bias.mul_(factors)
            layer.weight.div_(factors.reshape(1, -1, 1, 1))  # type: ignore[operator]
    return module


@functools.cache
def _statistics(variant: str, scaled: bool, folds: tuple[str, ...] | None, samples: int) -> Statistics:
    return calibrate(_graph(variant, scaled, folds), images(np.load(calibration_pictures(samples))[:samples]))


def _plan(graph: ir.Model, stats: Statistics, choice: Choice) -> QuantPlan:
    return plan_of(decide(graph, stats, estimator=choice.estimator, refinements=choice.refinements))


def plan_of(decisions: Decisions) -> QuantPlan:
    """Decisions as a plan."""
    return QuantPlan(
        model="benchmark",
        weights_sha256="0" * 64,
        image_size=224,
        input_kind=InputKind.FLOAT,
        folds=(),
        engine="edgecvx",
        calibration=Calibration(kind="demo", name="demo", count=1, sha256="0" * 64, pictures=("0" * 64,)),
        agreement=None,
        layers=decisions.layers,
        activations=decisions.activations,
    )


def _logits(graph: ir.Model, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    def parts() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(pictures), CHUNK):
            yield execute(graph, [image[0] for image in images(pictures[start : start + CHUNK])])[0]

    return np.concatenate(list(parts()))


def _top1(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def _figures(actual: NDArray[np.float32], expected: NDArray[np.float32], labels: NDArray[np.int64]) -> str:
    drop = 100 * (_top1(expected, labels) - _top1(actual, labels))
    flips = (actual.argmax(axis=1) != expected.argmax(axis=1)).mean()
    noise = 10 * np.log10(np.square(expected).sum() / np.square(actual - expected).sum())
    return f"{drop:.2f} | {flips:.2%} | {row_cosines(actual, expected).mean():.5f} | {noise:.1f}"


if __name__ == "__main__":
    main()
