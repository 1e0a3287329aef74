"""What quantizers do to the answers: other tools' INT8 files and ours, on the same drawn pictures.

    python benchmarks/accuracy.py                                   # femto, 480 pictures, into benchmarks/out/
    python benchmarks/accuracy.py --variants atto femto --pictures 2400 --targets onnx

Each network comes twice: as it was trained, and rewritten so that the input channels of every block's first 1x1
convolution and of every downsample differ by powers of two from 2^-4 to 2^4. That is the same function to the last bit
(``others/scale_channels.py`` checks it), and what training is free to leave behind. A quantizer that moves scales to
where they cost nothing gives the same file for both.

Every tool is calibrated with the same pictures; none of those is looked at here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from files import open_file, our_files, precisions
from networks import Network, Weights, calibration_pictures, images, reference_logits, validation_pictures
from numpy.typing import NDArray
from paths import OUT
from rivals import rivals_of, versions

from edgecvx.proof.metrics import row_cosines
from edgecvx.runtimes import availability
from edgecvx.targets import get_target

TARGETS = ("onnx", "openvino", "tflite")
TRAINED: tuple[Weights, ...] = tuple(weights for weights in get_args(Weights) if weights != "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One INT8 file."""

    target: str
    tool: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What a file's answers lost, against FP32 PyTorch on the same pictures."""

    variant: str
    weights: Weights
    target: str
    tool: str
    pictures: int
    reference_top1: float
    top1: float
    drop: float
    """Percentage points of top-1; negative where the file is right more often."""
    flips: float
    """The share of pictures whose first class is another one."""
    mean_cosine: float
    worst_cosine: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=("femto",), choices=("atto", "femto"))
    parser.add_argument("--weights", nargs="+", default=TRAINED, choices=TRAINED)
    parser.add_argument("--targets", nargs="+", default=TARGETS, choices=TARGETS)
    parser.add_argument("--pictures", type=int, default=480, help="a multiple of 24 has as many of each class")
    parser.add_argument("--name", default="accuracy", help="of the two files written to benchmarks/out/")
    options = parser.parse_args(arguments)

    pictures, labels = validation_pictures(options.pictures)
    found: list[Damage] = []
    print("\n".join(HEAD))
    for variant in options.variants:
        for weights in options.weights:
            network = Network(variant=variant, weights=weights)
            reference = reference_logits(network, pictures)
            for candidate in candidates(network, options.targets):
                logits = answers(candidate, pictures)
                found.append(damage(network, candidate, logits, reference, labels))
                print(row(found[-1]), flush=True)
    rivals = {r.name: r for target in options.targets for r in rivals_of(target, "int8")}
    about = {name: versions(rival) for name, rival in rivals.items()}
    about |= {t: str(availability(get_target(t).format.runtime).version) for t in options.targets}
    OUT.mkdir(exist_ok=True)
    (OUT / f"{options.name}.json").write_text(
        json.dumps({"about": about, "damage": [asdict(d) for d in found]}, indent=2) + "\n"
    )
    (OUT / f"{options.name}.md").write_text(markdown(about, found))
    print(f"written: {OUT / options.name}.json and .md")
    return 0


def candidates(network: Network, targets: Sequence[str]) -> Iterator[Candidate]:
    """Every INT8 file of a network, ours first."""
    folder, pictures = network.folder(), calibration_pictures(network.calibration_count)
    for precision in ("int8", "int8-dynamic"):
        having = [target for target in targets if precision in precisions(target)]
        for target, path in our_files(folder, having, precision, OUT / "ours").items() if having else ():
            yield Candidate(target=target, tool=f"edgecvx, {precision}", path=path)
    for target in targets:
        for rival in rivals_of(target, "int8"):
            if rival.base is not None:
                yield Candidate(target=target, tool=rival.name, path=rival.make(folder, pictures))


def answers(candidate: Candidate, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    file = open_file(candidate.target, candidate.path, threads=1)
    logits = np.concatenate([file.logits(file.feed(image)) for image in images(pictures)])
    file.session.close()
    return logits


def damage(
    network: Network,
    candidate: Candidate,
    logits: NDArray[np.float32],
    reference: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> Damage:
    ours, theirs = logits.argmax(axis=1), reference.argmax(axis=1)
    top1, reference_top1 = float((ours == labels).mean()), float((theirs == labels).mean())
    cosines = row_cosines(logits, reference)
    return Damage(
        variant=network.variant,
        weights=network.weights,
        target=candidate.target,
        tool=candidate.tool,
        pictures=len(labels),
        reference_top1=reference_top1,
        top1=top1,
        drop=100 * (reference_top1 - top1),
        flips=float((ours != theirs).mean()),
        mean_cosine=float(cosines.mean()),
        worst_cosine=float(cosines.min()),
    )


HEAD = (
    "| network | runtime | file | FP32 top-1 | top-1 | drop, points | flips | mean cosine | worst cosine |",
    "|---|---|---|---|---|---|---|---|---|",
)


def row(d: Damage) -> str:
    return (
        f"| {d.variant}, {d.weights} | {d.target} | {d.tool} | {d.reference_top1:.2%} | {d.top1:.2%} | {d.drop:.2f} "
        f"| {d.flips:.2%} | {d.mean_cosine:.5f} | {d.worst_cosine:.4f} |"
    )


def markdown(about: Mapping[str, str], found: Sequence[Damage]) -> str:
    lines = [
        "# What quantizers do to the answers",
        "",
        f"ConvNeXt V2 with demo weights at 224 px, {found[0].pictures} drawn pictures, none of them used to calibrate.",
        "`scaled` is the same function with badly scaled channels. Everything is against FP32 PyTorch.",
        "",
        *(f"- {name}: {told}" for name, told in about.items()),
        "",
        *HEAD,
        *map(row, found),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
