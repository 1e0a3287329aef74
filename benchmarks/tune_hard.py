"""Hard weights, where no uniform choice is right: what ``tune`` ships, beside NNCF's accuracy control.

    python benchmarks/tune_hard.py                              # about 15 minutes on two cores, into benchmarks/out/
    python benchmarks/tune_hard.py --member kernels --steps time table      # times anew, on a quiet machine

A network of the zoo (``tools/zoo.py``), one size, OpenVINO, one thread. A *uniform* file treats every block alike: all
of them in FP32, FP16 or INT8. ``tune`` is asked for the fastest file that loses at most half a point. NNCF's
``quantize_with_accuracy_control`` is given the same network as OpenVINO's converter makes it, the same 128 pictures to
calibrate on, the first of the pictures that the race judged by, and the same limit. All are judged on pictures that
nobody saw, and timed in turns in one process.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from compare import median_ms
from files import open_file, weight
from networks import SIZE, calibration_pictures, images, validation_pictures
from numpy.typing import NDArray
from paths import HERE, OUT, written
from rivals import OPENVINO, run_in

import edgecvx
from edgecvx.data import demo
from edgecvx.errors import SelfCheckError
from edgecvx.models.load import load_model
from edgecvx.results.intervals import paired_interval
from edgecvx.results.statistics import hodges_lehmann
from edgecvx.runtimes.torch import TorchSession
from edgecvx.spec import Precision
from edgecvx.targets import get_target
from edgecvx.tune.request import CALIBRATED_ON
from edgecvx.tune.search import Progress
from edgecvx.tune.space import Candidate, space
from edgecvx.tune.space.forced import write_forced

sys.path.insert(0, str(HERE.parent / "tools"))

from zoo import MEMBERS, plant, write

TARGET, THREADS = "openvino", 1
POINTS = 0.5
"""Of top-1 that may be lost."""
JUDGES = 7_000_000
"""The first drawn picture that files are judged by: races and predictions have others."""
STEPS = ("make", "judge", "time", "table")
TUNED = "tune"
FILES = ("FP32", "FP16", "INT8, every block", "INT8, the plan's own rules", TUNED, "NNCF, accuracy control")


@dataclass(slots=True, kw_only=True)
class Row:
    """A file, and what is known of it by now."""

    name: str
    path: str
    seconds: float
    """Of processor time that finding it took, exported or searched for: the same on a busy machine."""
    note: str = ""
    top1: float = 0.0
    change: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Points against FP32, and the 95% interval."""
    flips: float = 0.0
    ms: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The median, and the 95% interval."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variant", default="atto", choices=("femto", "atto"))
    parser.add_argument("--member", default="all", choices=tuple(MEMBERS))
    parser.add_argument("--budget", type=float, default=8.0, help="minutes of the search")
    parser.add_argument("--validation", type=int, default=500, help="pictures that NNCF controls its accuracy by")
    parser.add_argument("--judges", type=int, default=2000, help="pictures that files are judged by")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--files", nargs="+", default=FILES, choices=FILES, help="to make and to judge")
    parser.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
    options = parser.parse_args(arguments)
    folder = OUT / "tune-hard" / f"{options.variant}-{options.member}"
    steps = {"make": made, "judge": judged, "time": timed}
    for step in (name for name in STEPS if name in options.steps and name in steps):
        for row in steps[step](known(folder), folder, options):
            with written(place_of(folder, row.name)) as temporary:
                temporary.write_text(json.dumps(asdict(row), indent=1) + "\n")
    rows = known(folder)
    table = "\n".join([*HEAD, *map(shown, rows)]) + "\n"
    (OUT / f"tune-hard-{folder.name}.md").write_text(table)
    print(table)
    return 0


def known(folder: Path) -> list[Row]:
    """What was found by now; several runs may find different files at once."""
    places = (place_of(folder, name) for name in FILES)
    return [Row(**json.loads(place.read_text())) for place in places if place.exists()]


def place_of(folder: Path, name: str) -> Path:
    """Where a row is kept."""
    return folder / "rows" / f"{name.replace(' ', '-')}.json"


# The files


def made(rows: Sequence[Row], folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Every file that is not there yet."""
    checkpoint = folder / f"{folder.name}.safetensors"
    if not checkpoint.exists():
        write(plant(options.variant, MEMBERS[options.member]), folder)
    makers: Sequence[Callable[[], tuple[Path, str]]] = (
        lambda: exported(checkpoint, folder, Precision.FP32),
        lambda: exported(checkpoint, folder, Precision.FP16),
        lambda: everywhere(checkpoint, folder),
        lambda: exported(checkpoint, folder, Precision.INT8),
        lambda: searched(checkpoint, folder, options.budget),
        lambda: controlled(options, checkpoint, folder),
    )
    missing = set(options.files) - {row.name for row in rows}
    for name, make in zip(FILES, makers, strict=True):
        if name in missing:
            before = used()
            try:
                path, note = make()
            except SelfCheckError as error:  # further from its plan than is allowed: no file at all
                print(f"# {name}: {error}", flush=True)
                continue
            seconds = spent_by(folder) if name == TUNED else used() - before
            print(f"# {name}: {seconds:.0f} s, {note}", flush=True)
            yield Row(name=name, path=str(path), seconds=seconds, note=note)


def used() -> float:
    """Seconds of processor time, of this process and of those it started."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def spent_by(folder: Path) -> float:
    """What a search spent by now, in all its runs: it may be stopped, and goes on where it was."""
    place = folder / "spent.json"
    return float(json.loads(place.read_text())) if place.exists() else 0.0


def exported(checkpoint: Path, folder: Path, precision: Precision) -> tuple[Path, str]:
    """A file by a precision's own rules."""
    calibrated: Mapping[str, Any] = {"calib_samples": CALIBRATED_ON} if precision.calibrated else {}
    (artifact,) = edgecvx.export(
        checkpoint, target=TARGET, precision=precision, out=folder / "uniform", **calibrated
    ).artifacts
    quantized = artifact.manifest.quantized
    return artifact.path, f"{quantized.int8_macs:.0%} of products in INT8" if quantized else ""


def everywhere(checkpoint: Path, folder: Path) -> tuple[Path, str]:
    """Every part of every block in INT8, with the scales of the plan."""
    exported(checkpoint, folder, Precision.INT8)
    (plan,) = (folder / "uniform").glob("*.plan.json")
    decisions = space(get_target(TARGET), load_model(checkpoint).spec.arch).decisions
    lowest = Candidate(
        model=folder.name,
        size=SIZE,
        target=TARGET,
        precision=Precision.INT8,
        decisions={d.name: d.lowest for d in decisions},
    )
    forced = write_forced(plan, decisions, lowest, folder / "everywhere")
    (artifact,) = edgecvx.export(
        checkpoint, target=TARGET, precision="int8", plan=forced, out=folder / "everywhere"
    ).artifacts
    quantized = artifact.manifest.quantized
    return artifact.path, f"{quantized.int8_macs:.0%} of products in INT8" if quantized else ""


def searched(checkpoint: Path, folder: Path, budget: float) -> tuple[Path, str]:
    """The file that a search ships."""
    before, began = spent_by(folder), used()

    def told(at: Progress) -> None:
        (folder / "spent.json").write_text(json.dumps(before + used() - began))
        if at.part in (0.0, 1.0) or at.stage == "race":
            print(f"#   {at.stage}: {at.doing}", flush=True)

    tuned = edgecvx.tune(
        checkpoint,
        target=TARGET,
        sizes=[SIZE],
        threads=[THREADS],
        max_drop=POINTS,
        budget=budget,
        out=folder / "tuned",
        on_progress=told,
    )
    (device,) = tuned.devices
    (folder / "spent.json").write_text(json.dumps(before + used() - began))
    print(f"# {device.ending.sentence}", *(f"#   {s.name}: {s.seconds:.0f} s" for s in tuned.stages), sep="\n")
    if device.shipped is None:
        raise SystemExit(f"tune ships nothing: {device.ending.sentence}")
    shipped = next(row for row in device.rows if row.name == device.ending.file)
    counts: dict[str, int] = {}
    for name, option in shipped.decisions.items():
        what = f"{name.rpartition('.')[2]} {option}"
        counts[what] = counts.get(what, 0) + 1
    mixture = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "the plan's own rules"
    return folder / "tuned" / device.shipped, f"{device.ending.kind}: {mixture}"


def controlled(options: argparse.Namespace, checkpoint: Path, folder: Path) -> tuple[Path, str]:
    """NNCF's file; the limit is its own to find a mixture for."""
    network = OUT / "networks" / f"zoo_{folder.name}"
    if not (network / "preprocessor_config.json").exists():
        network.mkdir(parents=True, exist_ok=True)
        run_in("plain", "make_network.py", options.variant, network, checkpoint)
    calibration, path = calibration_pictures(CALIBRATED_ON), folder / "nncf" / f"{folder.name}.xml"
    base = OPENVINO.make(network, calibration)
    _, labels = validation_pictures(options.validation)
    pictures = OUT / "pictures" / f"validation-{options.validation}.npy"
    np.save(pictures.with_suffix(".labels.npy"), labels)
    with written(path) as unfinished:
        run_in("plain", "control_nncf.py", base, calibration, pictures, unfinished, POINTS)
    return path, f"controlled on {options.validation} pictures"


# What they answer


def judged(rows: Sequence[Row], folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Top-1 of every file beside FP32's, on pictures that nobody saw."""
    pictures, labels = judges(options.judges)
    checkpoint = folder / f"{folder.name}.safetensors"
    reference = kept(folder / "answers" / f"torch-{options.judges}.npy", lambda: of_torch(checkpoint, pictures))
    right = reference == labels
    for row in (row for row in rows if row.name in options.files):
        path = Path(row.path)
        place = folder / "answers" / f"{row.name.replace(' ', '-')}-{options.judges}.npy"
        first = kept(place, lambda path=path: of_file(path, pictures))
        own = first == labels
        lost, gained = int((right & ~own).sum()), int((own & ~right).sum())
        sure = paired_interval(lost, gained, len(own))
        row.top1, row.flips = float(own.mean()), float((first != reference).mean())
        row.change = (100 * (gained - lost) / len(own), 100 * sure.low, 100 * sure.high)
        yield row


def judges(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Drawn pictures of a beginning that no search has, and their labels."""
    path = OUT / "pictures" / f"judges-{count}.npy"
    labels = (JUDGES + np.arange(count)) % len(demo.CLASSES)

    def drawn() -> NDArray[np.uint8]:
        return np.stack([demo.picture(JUDGES + i, stream="validation", size=SIZE)[0] for i in range(count)])

    return kept(path, drawn), labels


def of_torch(checkpoint: Path, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """FP32's first classes."""
    session = TorchSession(load_model(checkpoint).module, batch=1)
    return np.array([int(session.run(image)["logits"].argmax()) for image in images(pictures)])


def of_file(path: Path, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A file's."""
    file = open_file(TARGET, path, threads=THREADS)
    return np.array([int(file.logits(file.feed(image)).argmax()) for image in images(pictures)])


def kept(path: Path, make: Any) -> NDArray[Any]:
    """An array that is made once."""
    if not path.exists():
        with written(path) as temporary:
            np.save(temporary, make())
    return np.asarray(np.load(path))


# How long they take


def timed(rows: Sequence[Row], folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Every file in turn, the order reversed from round to round."""
    (image,) = images(judges(options.judges)[0][:1])
    files = [open_file(TARGET, Path(row.path), threads=THREADS) for row in rows]
    inputs = [file.feed(image) for file in files]
    times = np.empty((len(files), options.rounds))
    for turn in range(options.rounds):
        for i in range(len(files)) if turn % 2 == 0 else reversed(range(len(files))):
            times[i, turn] = median_ms(files[i], inputs[i], 10, time.perf_counter)
    for row, turns in zip(rows, times, strict=True):
        found = hodges_lehmann(np.log(turns))
        if found is None:
            raise SystemExit("too few rounds for an interval: take eight or more")
        _, low, high = np.exp(found).tolist()
        row.ms = (float(np.median(turns)), low, high)
        yield row


# The table

HEAD = (
    "| file | top-1 | change, points | other first classes | ms | MB | processor time to find it | |",
    "|---|---|---|---|---|---|---|---|",
)


def shown(row: Row) -> str:
    change, low, high = row.change
    ms, fastest, slowest = row.ms
    figures: Mapping[str, str] = {
        "top1": f"{row.top1:.2%}",
        "change": f"{change:+.2f} [{low:+.2f}, {high:+.2f}]",
        "flips": f"{row.flips:.2%}",
        "ms": f"{ms:.2f} [{fastest:.2f}, {slowest:.2f}]",
        "mb": f"{weight(Path(row.path)) / 1e6:.2f}",
        "seconds": f"{row.seconds:.0f} s",
    }
    return f"| {row.name} | " + " | ".join(figures.values()) + f" | {row.note} |"


if __name__ == "__main__":
    sys.exit(main())
