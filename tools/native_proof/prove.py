"""The proof of the native engine at length; `make test` does a small part of all of it.

    python tools/native_proof/prove.py                          # everything: an hour on two cores
    python tools/native_proof/prove.py kernels networks         # some of it
    python tools/native_proof/prove.py processors --pictures 20

===========  =======================================================================================================
kernels      each kernel against float64, thousands of shapes, here and on every processor that can be emulated
networks     random networks, each layer and the whole, on every set of kernels of this processor
threads      gcc's sanitizer of threads
hostile      100,000 changed files, 10,000 sequences of calls, 10,000 times opened and closed, under gcc's sanitizers
processors   the demo networks at 224 and the hard weights of tools/zoo.py: the same bits everywhere
===========  =======================================================================================================
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "tests/support", "tests/samples", "tools")]

import native_hostile as hostile  # noqa: E402 (behind what finds it)
import native_programs as programs  # noqa: E402
import numpy as np  # noqa: E402
from native_elsewhere import Elsewhere  # noqa: E402
from native_engine import Engine  # noqa: E402
from native_kernels import all_cases, kernels_of  # noqa: E402
from native_kernels import faults as kernel_faults  # noqa: E402
from native_networks import faults, first_classes  # noqa: E402
from native_programs import MACHINES, THIS, Machine  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

Array = NDArray[Any]
SHIPPED: dict[str, Any] = {"opt": "-O3"}
"""As libraries are built."""
HARD = ("all", "v1", "rescaled", "raised-s3-1000")
"""Members of the zoo that are asked on every processor."""
SLOW = 20
"""How many times fewer pictures an emulator gets."""


def prove_kernels(asked: argparse.Namespace) -> Iterator[str]:
    """What is wrong with a kernel."""
    for machine in _machines():
        cases = all_cases(seed=asked.seed, count=asked.shapes if machine is THIS else asked.shapes // 5)
        for kernels in kernels_of(machine, **SHIPPED):
            found = kernel_faults(machine, kernels, cases, **SHIPPED)
            print(f"  {machine}, {kernels}: {len(cases)} cases, {len(found)} faults", flush=True)
            yield from found


def prove_networks(asked: argparse.Namespace) -> Iterator[str]:
    """What is wrong with a layer, or with a network."""
    engine, seeds = Engine(programs.library(**SHIPPED)), range(asked.seed, asked.seed + asked.networks)
    for choices in ({}, {"integers": 0.0}, {"integers": 1.0}):
        found = faults(engine, seeds, **choices)
        print(f"  {', '.join(engine.kernels)}: {len(seeds)} networks {choices or ''}, {len(found)} faults", flush=True)
        yield from found
    same, total = first_classes(engine, seeds)
    print(f"  the first class is the reference's in {same} of {total} pictures", flush=True)
    if same < 0.95 * total:
        yield f"the first class is the reference's in {same} of {total} pictures alone"


def prove_threads(asked: argparse.Namespace) -> Iterator[str]:
    """Races."""
    if not programs.sanitizes(programs.THREAD):
        print("  gcc's sanitizer of threads is not here")
        return
    with tempfile.TemporaryDirectory() as folder:
        code, said = hostile.run(hostile.threads(opt="-O1"), hostile.corpus(Path(folder), 16))
    print(f"  {said.strip()}", flush=True)
    if code:
        yield f"threads: {said}"


def prove_hostile(asked: argparse.Namespace) -> Iterator[str]:
    """What sanitizers found."""
    if not programs.sanitizes(programs.ADDRESS):
        print("  gcc's sanitizers are not here")
        return
    program = hostile.hostile(opt="-O1")
    with tempfile.TemporaryDirectory() as folder:
        corpus = hostile.corpus(Path(folder), 48)
        for mode, count in (("files", asked.files), ("calls", asked.files // 10), ("leaks", asked.files // 480)):
            code, said = hostile.run(program, [mode, str(asked.seed), str(count), *corpus])
            sentences = len(re.findall(r"^ *\d+  ", said, re.MULTILINE))
            print(f"  {said.splitlines()[0] if said else ''}; {sentences} different sentences", flush=True)
            if code:
                yield f"{mode}: {said}"


def prove_processors(asked: argparse.Namespace) -> Iterator[str]:
    """Where a processor answers something else than this one."""
    for name, model, images in _models(asked):
        home = Elsewhere(THIS, **SHIPPED)
        here = home.answer(model, images)[0]
        for machine in _machines():
            there = Elsewhere(machine, **SHIPPED)
            few = images if machine is THIS else images[: max(2, len(images) // SLOW)]
            for kernels in there.kernels:
                answers = there.answer(model, few, kernels)[0]
                yield from _compared(f"{name}, {kernels} on {machine}", answers, here)


def _compared(name: str, there: Array, here: Array) -> Iterator[str]:
    """Every bit of every answer has to be the same."""
    equal = int((there == here[: len(there)]).all(axis=1).sum())
    same = int((there.argmax(axis=1) == here[: len(there)].argmax(axis=1)).sum())
    said = f"{name}: {equal} of {len(there)} answers the same to the bit, {same} first classes"
    print(f"  {said}", flush=True)
    if equal < len(there):
        yield said


def _machines() -> list[Machine]:
    """Those that can be had, prepared."""
    found = []
    for machine in MACHINES:
        machine.prepare()
        if reason := machine.why_not():
            print(f"  not on {machine}: {reason}")
        else:
            found.append(machine)
    return found


def _models(asked: argparse.Namespace) -> Iterator[tuple[str, bytes, Array]]:
    """The demo networks and the hard ones, exported, with drawn pictures."""
    import zoo

    from edgecvx.data.demo import picture
    from edgecvx.data.preprocess import normalize
    from edgecvx.pipeline import export
    from edgecvx.spec import PreprocessSpec

    drawn = np.stack([picture(index, stream="validation", size=224)[0] for index in range(asked.pictures)])
    images = np.ascontiguousarray(normalize(drawn, PreprocessSpec()), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for variant in ("atto", "femto"):
            done = export(variant, target="native", precision="int8", weights="demo", calib_samples=64, out=folder)
            yield variant, done.artifacts[0].path.read_bytes(), images
        for member in HARD:
            checkpoint = zoo.write(zoo.plant("atto", zoo.MEMBERS[member]), Path(folder) / f"atto-{member}")
            done = export(checkpoint, target="native", precision="int8", calib_samples=64, out=folder)
            yield f"atto, {member}", done.artifacts[0].path.read_bytes(), images[: max(20, len(images) // 5)]


PARTS: Mapping[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    "kernels": prove_kernels,
    "networks": prove_networks,
    "threads": prove_threads,
    "hostile": prove_hostile,
    "processors": prove_processors,
}


def main(words: Sequence[str] | None = None) -> int:
    """Proves the parts that are asked for; the exit code says whether nothing was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--shapes", type=int, default=300, help="of each kernel; a fifth of them on an emulator")
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument(
        "--files", type=int, default=100_000, help="changed ones; and a tenth as many sequences of calls"
    )
    parser.add_argument("--pictures", type=int, default=300, help="a twentieth of them on an emulator")
    asked = parser.parse_args(words)
    found: list[str] = []
    for name in asked.parts or PARTS:
        if name not in PARTS:
            parser.error(f"unknown part {name!r}: known are {', '.join(PARTS)}")
        print(f"{name}:", flush=True)
        began = time.perf_counter()
        found += PARTS[name](asked)
        print(f"  {time.perf_counter() - began:.0f} s", flush=True)
    for fault in found:
        print(f"FOUND: {fault}")
    print(f"{len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
