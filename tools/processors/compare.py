"""The demo files on every processor that can be emulated here: what they answer there, and what they answer here.

    python tools/processors/compare.py                      # atto and femto, a few pictures, into build/emulated/
    python tools/processors/compare.py --pictures 2000 --slow-pictures 0
    python tools/processors/compare.py --processors AVX2 cortex-a76 --variants femto --slow-pictures 20

All files of a network are exported anew, then they and the unfolded FP32 PyTorch network see the same drawn validation
pictures. ``emulated.py`` says how another processor comes about. Where instructions are hidden from the real one, a
picture takes as long as on it; an emulator takes some seconds to a minute for each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from emulated import BUILD, HERE, PROCESSORS, THIS, Processor, run, why_not
from numpy.typing import NDArray

from edgecvx.board.device.processors import this_processor
from edgecvx.data import demo
from edgecvx.data.preprocess import normalize
from edgecvx.models.load import demo_variants, load_model
from edgecvx.pipeline import export
from edgecvx.proof.metrics import max_error_of_range, row_cosines, row_powers, sqnr_db
from edgecvx.runtimes import availability
from edgecvx.runtimes.torch import TorchSession
from edgecvx.spec import PreprocessSpec
from edgecvx.targets import get_target

OUT = BUILD / "emulated"
TARGETS = ("onnx", "openvino", "tflite")
PRECISIONS = ("fp32", "int8", "int8-dynamic")
VARIANTS = tuple(name.removeprefix("convnextv2_") for name in demo_variants())
SIZE = 224

Array = NDArray[np.float32]
Answers = Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file on one processor, beside itself on this machine."""

    file: str
    processor: str
    pictures: int
    same_class: int
    """Pictures with the same first class on both."""
    difference: float
    """The largest one between two logits, as a part of the range of this machine's."""
    worst_cosine: float
    mean_cosine: float
    sqnr: float | None
    """Against FP32 PyTorch, in dB, there; None where there is no noise."""
    sqnr_here: float | None
    right: int
    """Pictures whose first class is what was drawn, there."""
    right_here: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What every file sees."""

    path: Path
    """Of the images as a network takes them."""
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The files of a network, and what all of them are held to."""

    variant: str
    files: tuple[Path, ...]
    reference: Array
    """FP32 PyTorch's logits."""
    here: Answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares, and writes a Markdown table and its figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = sorted({processor.name for processor in PROCESSORS})
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--processors", nargs="+", default=names, choices=names)
    parser.add_argument("--pictures", type=int, default=24, help="for processors at full speed")
    parser.add_argument("--slow-pictures", type=int, default=1, help="for emulators; 0 leaves them out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time, one thread each")
    options = parser.parse_args(arguments)

    chosen = []
    for processor in PROCESSORS:
        if processor.name not in options.processors or (processor.slow and options.slow_pictures < 1):
            continue
        if reason := why_not(processor):
            print(f"left out: {processor}, {reason}", flush=True)
        else:
            chosen.append(processor)
    OUT.mkdir(parents=True, exist_ok=True)
    pictures = draw(max(options.pictures, options.slow_pictures))
    networks = [network_of(variant, pictures) for variant in options.variants]

    rows: list[Row] = []
    refused: list[str] = []
    print("\n".join(HEAD), flush=True)
    counts = {p: options.slow_pictures if p.slow else options.pictures for p in chosen}
    with ThreadPoolExecutor(options.jobs) as pool:
        tasks = [(network, processor, pictures) for network in networks for processor in chosen]
        answered = pool.map(lambda task: answers_on(task[1], task[0], pictures, counts[task[1]]), tasks)
        for (network, processor, _), (there, refusals) in zip(tasks, answered, strict=True):
            refused += [f"{processor}: {line}" for line in refusals]
            for row in rows_of(network, processor, there, pictures.labels):
                rows.append(row)
                print(markdown(row), flush=True)
            write(rows, refused)  # what is there by now: the whole takes long
    for line in refused:
        print(f"refused: {line}")
    print(f"written: {OUT / 'answers.md'} and .json")
    return 0


def draw(count: int) -> Pictures:
    """Validation pictures, on which nothing is calibrated."""
    drawn = [demo.picture(index, stream="validation", size=SIZE) for index in range(count)]
    pixels = np.stack([pixels for pixels, _ in drawn])
    path = OUT / "images.npy"
    np.save(path, np.ascontiguousarray(normalize(pixels, PreprocessSpec(size=SIZE)).transpose(0, 3, 1, 2)))
    return Pictures(path=path, labels=np.array([label for _, label in drawn], np.int64))


def network_of(variant: str, pictures: Pictures) -> Network:
    """Exports the network's files and runs them here."""
    print(f"exporting {variant}", flush=True)
    files: list[Path] = []
    for precision in PRECISIONS:
        targets = [t for t in TARGETS if precision in [p.value for p in get_target(t).precisions]]
        made = export(variant, weights="demo", target=targets, precision=precision, out=OUT / "files")
        files += [artifact.path for artifact in made.artifacts]
    images = np.load(pictures.path, mmap_mode="r")
    session = TorchSession(load_model(variant, weights="demo").module)
    reference = np.concatenate([session.run(np.array(image[None]))["logits"] for image in images])
    network = Network(variant=variant, files=tuple(files), reference=reference, here={})
    here, refusals = answers_on(THIS, network, pictures, len(images))
    if refusals:
        raise SystemExit("\n".join(refusals))
    return Network(variant=variant, files=tuple(files), reference=reference, here=here)


def answers_on(
    processor: Processor, network: Network, pictures: Pictures, count: int
) -> tuple[Answers, tuple[str, ...]]:
    """The answers of all files of a network, and why one gave none."""
    out = OUT / "answers" / f"{network.variant} {processor}.npz"
    out.parent.mkdir(exist_ok=True)
    told = run(processor, HERE / "answers.py", out, pictures.path, str(count), *network.files)
    with np.load(out) as found:
        return dict(found), tuple(told.splitlines())


def rows_of(network: Network, processor: Processor, there: Answers, labels: NDArray[np.int64]) -> Iterator[Row]:
    """One row for each file that answered."""
    for name, logits in there.items():
        count = len(logits)
        here, expected = network.here[name][:count], network.reference[:count]
        cosines, first, first_here = row_cosines(logits, here), logits.argmax(axis=1), here.argmax(axis=1)
        yield Row(
            file=name,
            processor=str(processor),
            pictures=count,
            same_class=int((first == first_here).sum()),
            difference=max_error_of_range(logits, here),
            worst_cosine=float(cosines.min()),
            mean_cosine=float(cosines.mean()),
            sqnr=_sqnr(logits, expected),
            sqnr_here=_sqnr(here, expected),
            right=int((first == labels[:count]).sum()),
            right_here=int((first_here == labels[:count]).sum()),
        )


def _sqnr(logits: Array, expected: Array) -> float | None:
    signal, noise = row_powers(logits, expected)
    return sqnr_db(float(signal.sum()), float(noise.sum()))


HEAD = (
    "| file | processor | same first class | worst difference | worst cosine | mean | SQNR, dB | here | right | here |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def markdown(row: Row) -> str:
    """One line of the table."""
    decibels = ["no noise" if value is None else f"{value:.1f}" for value in (row.sqnr, row.sqnr_here)]
    cells = [
        row.file,
        row.processor,
        f"{row.same_class} of {row.pictures}",
        f"{row.difference:.1e}" if row.difference else "equal",
        f"{row.worst_cosine:.6f}",
        f"{row.mean_cosine:.6f}",
        *decibels,
        str(row.right),
        str(row.right_here),
    ]
    return f"| {' | '.join(cells)} |"


def write(rows: Sequence[Row], refused: Sequence[str]) -> None:
    """Writes the table, with what it was measured on, and its figures."""
    processor = this_processor()
    versions = {t: str(availability(get_target(t).format.runtime).version) for t in TARGETS}
    about = [
        "# The same files on other processors",
        "",
        f"Here: {processor.name}, class {processor.kind}. {', '.join(f'{t}: {v}' for t, v in versions.items())}.",
        f"{SIZE} px, drawn validation pictures, one thread. Differences are between the two processors, as parts of",
        "the range of the logits here; SQNR is against FP32 PyTorch; right are pictures whose first class was drawn.",
        "",
    ]
    told = ["", *(f"Refused: {line}" for line in refused)] if refused else []
    table = "\n".join([*about, *HEAD, *map(markdown, rows), *told]) + "\n"
    (OUT / "answers.md").write_text(table, encoding="utf-8")
    found = {"about": {**versions, "processor": processor.name, "class": processor.kind}, "refused": list(refused)}
    (OUT / "answers.json").write_text(json.dumps({**found, "rows": [asdict(r) for r in rows]}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
