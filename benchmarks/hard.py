"""INT8 on hard weights: every member of the zoo in every runtime, next to other tools' quantizers.

    python benchmarks/hard.py                                    # femto and atto, 1,000 pictures, into benchmarks/out/
    python benchmarks/hard.py --variants atto --members plain all --pictures 200 --rivals

The zoo (``tools/zoo.py``) plants into the demo networks what training at scale leaves in weights. Each file is held to
the FP32 PyTorch answers of its own checkpoint on drawn pictures that nothing was calibrated on: how far their first
class changes (flips), and signal over noise of the logits. What was measured is kept after each file; a run that was
stopped goes on where it was.

``--rivals`` adds NNCF's default and ``quantize_static`` on the same checkpoint exported plainly, each calibrated on the
same drawn pictures as in ``benchmarks/accuracy.py``; they take V2 networks only.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from files import open_file
from networks import calibration_pictures, images, validation_pictures
from numpy.typing import NDArray
from paths import HERE, OUT, written
from rivals import rivals_of, run_in

from edgecvx.errors import EdgecvxError
from edgecvx.models.load import load_model
from edgecvx.pipeline import export
from edgecvx.proof.metrics import sqnr_db
from edgecvx.runtimes.torch import TorchSession

sys.path.insert(0, str(HERE.parent / "tools"))

from zoo import MEMBERS, plant, write

FILES = (("int8", ("onnx", "openvino", "tflite", "coreml", "native")), ("int8-dynamic", ("onnx", "tflite")))
SLOW = ("coreml",)
"""Targets whose runtime is an executor here."""
BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a file's answers keep of its checkpoint's."""

    variant: str
    member: str
    target: str
    tool: str
    pictures: int
    reference_top1: float
    flips: float
    sqnr: float | None
    bytes: int
    macs: float | None
    """The part that is INT8."""
    error: str = ""
    """Why there is no file."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=("femto", "atto"), choices=("femto", "atto"))
    parser.add_argument("--members", nargs="+", default=tuple(MEMBERS), choices=tuple(MEMBERS))
    parser.add_argument("--targets", nargs="+", default=FILES[0][1], choices=FILES[0][1])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--executor-pictures", type=int, default=200, help="for Core ML's executor, which is slow")
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--name", default="hard", help="of the two files written to benchmarks/out/")
    options = parser.parse_args(arguments)
    log = OUT / f"{options.name}.json"
    found = [Held(**entry) for entry in json.loads(log.read_text())] if log.exists() else []
    for variant in options.variants:
        for member in options.members:
            done = {(h.target, h.tool) for h in found if (h.variant, h.member) == (variant, member)}
            for held in measured(variant, member, options, done):
                found.append(held)
                print(row(held), flush=True)
                with written(log) as temporary:
                    temporary.write_text(json.dumps([asdict(h) for h in found], indent=1) + "\n")
    (OUT / f"{options.name}.md").write_text("\n".join([*HEAD, *map(row, found)]) + "\n")
    print(f"written: {log} and .md")
    return 0


def measured(variant: str, member: str, options: argparse.Namespace, done: set[tuple[str, str]]) -> Iterator[Held]:
    """Every file of one checkpoint that was not measured yet."""
    folder = OUT / "zoo" / f"{variant}-{member}"
    checkpoint = folder / f"{folder.name}.safetensors"
    if not checkpoint.exists():
        write(plant(variant, MEMBERS[member]), folder)
    drawn, labels = validation_pictures(options.pictures)
    reference = answers_of_torch(checkpoint, drawn)
    top1 = float((reference.argmax(axis=1) == labels).mean())
    for target, tool, path, macs, error in candidates(
        variant, folder, checkpoint, done, options.targets, rivals=options.rivals
    ):
        logits = (
            np.zeros((0, 1), np.float32)
            if path is None
            else answers(target, path, drawn[: options.executor_pictures if target in SLOW else None])
        )
        yield Held(
            variant=variant,
            member=member,
            target=target,
            tool=tool,
            pictures=len(logits),
            reference_top1=top1,
            **({"flips": 0.0, "sqnr": None} if path is None else distance(logits, reference[: len(logits)])),
            bytes=0 if path is None else weight(path),
            macs=macs,
            error=error,
        )


def candidates(
    variant: str,
    folder: Path,
    checkpoint: Path,
    done: set[tuple[str, str]],
    targets_asked: Sequence[str],
    *,
    rivals: bool,
) -> Iterator[tuple[str, str, Path | None, float | None, str]]:
    """Target, tool, file, the part of it that is INT8, and why there is none."""
    for precision, targets in FILES:
        tool = f"edgecvx, {precision}"
        left = [target for target in targets if target in targets_asked and (target, tool) not in done]
        plan: Path | None = None
        for target in left:
            began = time.perf_counter()
            try:
                result = export(checkpoint, target=target, precision=precision, out=folder, plan=plan)
            except EdgecvxError as error:
                yield target, tool, None, None, str(error)
                continue
            plan = next(folder.glob("*.plan.json"), None) if precision == "int8" else None
            (artifact,) = result.artifacts
            quantized = artifact.manifest.quantized
            print(f"# {artifact.path.name}: {time.perf_counter() - began:.0f} s", *result.warnings, sep="\n#   ")
            yield target, tool, artifact.path, quantized.int8_macs if quantized else None, ""
    if not rivals or MEMBERS[folder.name.partition("-")[2]].v1:
        return
    network = OUT / "networks" / f"zoo_{folder.name}"
    if not (network / "preprocessor_config.json").exists():
        network.mkdir(parents=True, exist_ok=True)
        run_in("plain", "make_network.py", variant, network, checkpoint)
    for rival in (rival for target in ("onnx", "openvino") for rival in rivals_of(target, "int8")):
        if rival.base is not None and (rival.target, rival.name) not in done:
            yield rival.target, rival.name, rival.make(network, calibration_pictures(128)), None, ""


def answers_of_torch(checkpoint: Path, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """FP32's, kept from one call to the next."""
    path = OUT / "reference" / f"{checkpoint.stem}-{len(pictures)}.npy"
    if not path.exists():
        session = TorchSession(load_model(checkpoint).module, batch=BATCH)
        rows = list(images(pictures))
        parts = (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))
        logits = [session.run(np.concatenate(part))["logits"] for part in parts]
        with written(path) as temporary:
            np.save(temporary, np.concatenate(logits))
    return np.asarray(np.load(path))


def answers(target: str, path: Path, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    file = open_file(target, path, threads=1)
    logits = np.concatenate([file.logits(file.feed(image)) for image in images(pictures)])
    file.session.close()
    return logits


def distance(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> dict[str, float | None]:
    exact, noise = reference.astype(np.float64), (logits - reference).astype(np.float64)
    return {
        "flips": float((logits.argmax(axis=1) != reference.argmax(axis=1)).mean()),
        "sqnr": sqnr_db(float((exact * exact).sum()), float((noise * noise).sum())),
    }


def weight(path: Path) -> int:
    """Bytes of a file, with those of its second one, or of a package."""
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    second = path.with_suffix(".bin")
    return path.stat().st_size + (second.stat().st_size if path.suffix == ".xml" else 0)


HEAD = (
    "| network | runtime | file | pictures | FP32 top-1 | flips | signal over noise, dB | INT8 products | MB |",
    "|---|---|---|---|---|---|---|---|---|",
)


def row(h: Held) -> str:
    if h.error:
        return f"| {h.variant}, {h.member} | {h.target} | {h.tool} | none: {h.error} | | | | | |"
    sqnr = "exact" if h.sqnr is None else f"{h.sqnr:.1f}"
    macs = "" if h.macs is None else f"{h.macs:.1%}"
    return (
        f"| {h.variant}, {h.member} | {h.target} | {h.tool} | {h.pictures} | {h.reference_top1:.1%} | {h.flips:.1%} "
        f"| {sqnr} | {macs} | {h.bytes / 1e6:.2f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
