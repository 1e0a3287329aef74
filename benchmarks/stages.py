"""What the stages of a validation take alone and all at once: the second table of docs/validation.md.

    python benchmarks/stages.py                      # femto, 400 drawn pictures, ONNX in FP32
    python benchmarks/stages.py --target tflite --int8 --pictures 100

Decoding (drawing, here), the reference and the artifact are given the threads that ``edgecvx validate`` gives them.
Alone, each shows how long all would take if the others took nothing; their processor seconds, over the processors there
are, are what no order of the work can be faster than.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgecvx.accuracy.feeding import Batch, FedArtifact, compared, threads_beside
from edgecvx.accuracy.reference import Reference, rebuild
from edgecvx.data.dataset import Sample, decoded, drawn_sample
from edgecvx.data.streaming import prepared, processors
from edgecvx.manifest import read_manifest
from edgecvx.pipeline import export
from edgecvx.spec import Precision

BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one stage took, or all of them."""

    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """An artifact with its reference, ready to run."""

    reference: Reference
    artifact: FedArtifact
    samples: Sequence[Sample]

    def batches(self) -> Iterator[Batch]:
        """All pictures, decoded as they are asked for."""
        return decoded(self.samples, (self.reference.preprocess, self.reference.preprocess), BATCH, {})

    def ask_reference(self, batches: Sequence[Batch]) -> None:
        """As many batches at once as a validation has."""
        answers = prepared(
            lambda batch: self.reference.answer(batch[0], batch[1][1]), batches, threads=self.reference.abreast
        )
        for _ in answers:
            pass

    def ask_artifact(self, batches: Sequence[Batch]) -> None:
        """In turn."""
        for samples, pixels in batches:
            self.artifact.run(samples, pixels[0])

    def together(self) -> None:
        """As a validation does it."""
        for _ in compared(self.batches(), self.reference, self.artifact, None, {}):
            pass


def opened(path: Path, pictures: int, cache: Path) -> Stages:
    """The artifact in its runtime and its reference, both asked once; nothing is known of the pictures."""
    manifest = read_manifest(path)
    reference = Reference(rebuild(manifest), task=manifest.task, cache=cache, batch=BATCH, threads=None)
    samples = [drawn_sample("validation", index, 0) for index in range(pictures)]
    artifact = FedArtifact(path, manifest, threads_beside(reference, samples, None))
    first = [drawn_sample("calibration", index, 0) for index in range(BATCH * reference.abreast)]
    warm = Stages(reference=reference, artifact=artifact, samples=first)
    warm.together()
    return Stages(reference=reference, artifact=artifact, samples=samples)


def timed(work: Callable[[], object]) -> Took:
    """Wall time, and the processor time of this process and the runtime's."""
    before, begun = _processor_seconds(), time.perf_counter()
    work()
    return Took(seconds=time.perf_counter() - begun, processor_seconds=_processor_seconds() - before)


def _processor_seconds() -> float:
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return float(sum(t.user + t.system for t in times))


def main() -> int:
    """Prints a row each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variant", default="femto")
    parser.add_argument("--target", default="onnx")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--pictures", type=int, default=400)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgecvx-stages-") as temporary:
        folder = Path(temporary)
        precision = Precision.INT8 if asked.int8 else Precision.FP32
        done = export(asked.variant, weights="demo", target=asked.target, precision=precision, out=folder / "files")
        path = done.artifacts[0].path
        begun = time.perf_counter()
        stages = opened(path, asked.pictures, folder / "alone")
        print(f"{path.name}, {asked.pictures} pictures; opened in {time.perf_counter() - begun:.1f} s\n")
        batches: list[Batch] = []
        alone = {
            "decoding": timed(lambda: batches.extend(stages.batches())),
            "reference": timed(lambda: stages.ask_reference(batches)),
            "artifact": timed(lambda: stages.ask_artifact(batches)),
        }
        stages.artifact.close()
        again = opened(path, asked.pictures, folder / "together")
        together = timed(again.together)
        again.artifact.close()
    _print(alone, together, asked.pictures)
    return 0


def _print(alone: dict[str, Took], together: Took, pictures: int) -> None:
    busiest = max(alone, key=lambda name: alone[name].seconds)
    work = sum(took.processor_seconds for took in alone.values())
    print("| | seconds | processor seconds | pictures a second |")
    print("|---|---|---|---|")
    for name, took in {**alone, "all at once": together}.items():
        print(f"| {name} | {took.seconds:.1f} | {took.processor_seconds:.1f} | {pictures / took.seconds:.1f} |")
    bound = work / processors()
    print(
        f"\nAll at once takes {together.seconds / alone[busiest].seconds:.2f} times as long as the busiest alone "
        f"({busiest}), and {together.seconds / bound:.2f} times the bound of {processors()} processors, {bound:.1f} s."
    )


if __name__ == "__main__":
    sys.exit(main())
