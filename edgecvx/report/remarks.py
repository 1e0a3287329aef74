"""What somebody who uses these figures has to know, a sentence each: computed from what was measured, never guessed.

Every function here looks for one thing. ``device_remarks`` are about one machine and its times, ``general_remarks``
about the files, their accuracy and their licences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from edgecvx.latency.warnings import of_device
from edgecvx.report.join import FP32, DevicePart, Report, Row
from edgecvx.results.figures import count, counted, sentence, times
from edgecvx.results.latency import percentile

NAMED = 3
"""Names in a sentence; further ones are counted."""
SLOWED = 1.02
"""A sustained run's slowdown that is remarked on; the interval's lower end has to be above it."""


def names(rows: Iterable[Row]) -> str:
    """``a, b, c and 4 more``."""
    labels = list(dict.fromkeys(row.label for row in rows))
    if len(labels) > NAMED + 1:
        return f"{', '.join(labels[:NAMED])} and {len(labels) - NAMED} more"
    return " and ".join(filter(None, (", ".join(labels[:-1]), *labels[-1:])))


# --- of a device ----------------------------------------------------------------------------------------------------


def device_remarks(device: DevicePart) -> tuple[str, ...]:
    """What to know about the times of one device, the gravest first."""
    found = [*_emulated(device), *_broken(device), *_errors(device), *_sustained(device)]
    for bench in device.benches:
        found += [sentence_ for sentence_ in of_device(bench) if not sentence_.startswith("EMULATED")]  # said above
    found += [*_versions(device.rows), *_arithmetic(device), *_few_samples(device), *_means_alone(device)]
    found += _no_end_to_end(device)
    return tuple(dict.fromkeys(sentence(text) for text in found))


def _emulated(device: DevicePart) -> Iterator[str]:
    if device.emulated is not None:
        yield (
            f"Emulated by {device.emulated}: that the files run is all these figures say. The times are not the "
            "device's; nothing is ranked or recommended"
        )


def _broken(device: DevicePart) -> Iterator[str]:
    for bench in device.benches:
        if bench.error:
            yield f"Not everything could be measured: {bench.error}"
        elif bench.after is None:
            yield "The state of the device after the measurement is unknown"


def _errors(device: DevicePart) -> Iterator[str]:
    broken = [row for row in device.rows if row.measured and row.measured.error]
    for row in broken[:NAMED]:
        yield f"Not measured to the end: {row.label}: {row.measured.error if row.measured else ''}"
    if len(broken) > NAMED:
        yield f"Nor were {len(broken) - NAMED} more; the table says which, and why"


def _sustained(device: DevicePart) -> Iterator[str]:
    for row in device.rows:
        run = row.measured.sustained if row.measured else None
        if run and run.slowdown_ratio and run.slowdown and run.slowdown.low > SLOWED:
            yield (
                f"Under load it slows down: after {run.seconds / 60:.3g} minutes without a pause {row.label} took "
                f"{times(run.slowdown_ratio, run.slowdown)} as long as at first"
            )


def _versions(rows: Sequence[Row]) -> Iterator[str]:
    """One runtime in two versions: here, or here and where the accuracy was measured."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        known = [row.identity.runtime_version] if row.measured else []
        known += [row.accuracy.outcome.identity.runtime_version] if row.accuracy else []
        found.setdefault(row.identity.runtime, {}).update({version: None for version in known if version})
    for runtime, versions in found.items():
        # In brackets stands which build of the engine a browser ran: for one thread, or for several.
        bare = {v.split(" (")[0].split()[-1] for v in versions if v.split(" (")[0].split()}
        if len(bare) > 1:
            yield f"Two versions of a runtime are in these figures: {runtime} {' and '.join(versions)}"


def _arithmetic(device: DevicePart) -> Iterator[str]:
    for kind in dict.fromkeys(r.measured.arithmetic for r in device.rows if r.measured):
        if kind and kind.lower() not in ("f32", "fp32", "float32"):
            rows = [r for r in device.rows if r.measured and r.measured.arithmetic == kind]
            fp32 = [r for r in rows if r.identity.precision == FP32]
            if fp32:
                yield f"The runtime computes floats in {kind} here, also those of an FP32 file: {names(fp32)}"


def _few_samples(device: DevicePart) -> Iterator[str]:
    few = [r for r in device.rows if r.summary and percentile(r.summary, 0.9) is None]
    if few:
        numbers = {r.summary.samples for r in few if r.summary}
        fewest = min(numbers)
        more = " or more" if len(numbers) > 1 else ""
        yield f"Too few runs for a p90, which takes 64: {names(few)} had {count(fewest)}{more}"


def _means_alone(device: DevicePart) -> Iterator[str]:
    rows = [r for r in device.rows if r.measured and r.measured.told and r.p50 is None]
    if rows:
        tools = ", ".join(dict.fromkeys(r.measured.told.tool for r in rows if r.measured and r.measured.told))
        yield f"{tools} gives a mean and no single runs: {names(rows)} cannot be ranked by p50"


def _no_end_to_end(device: DevicePart) -> list[str]:
    notes = dict.fromkeys(r.measured.end_to_end_note for r in device.rows if r.measured)
    return [f"No end to end: {note}" for note in notes if note]


# --- of the files ---------------------------------------------------------------------------------------------------


def general_remarks(report: Report) -> tuple[str, ...]:
    """What to know about the files and their accuracy."""
    found = [
        *_licences(report),
        *_weights(report),
        *_misfed(report),
        *_undecided(report),
        *_calibration(report),
        *_data(report),
        *_not_validated(report),
        *_chosen(report),
    ]
    found += [w for v in report.validations for w in v.warnings]
    found += _of_benchmarks(report)
    found += [g.sentence for b in report.benchmarks for g in b.gates if g.verdict != "pass"]
    return tuple(dict.fromkeys(sentence(text) for text in found))


def _of_benchmarks(report: Report) -> Iterator[str]:
    """What a benchmark warned of, but for what stands with its device."""
    for benchmark in report.benchmarks:
        there = {f"{d.fingerprint.name}: {warning}" for d in benchmark.devices for warning in of_device(d)}
        yield from (warning for warning in benchmark.warnings if warning not in there)


def _licences(report: Report) -> Iterator[str]:
    found: dict[str, dict[str, None]] = {}
    for row in report.rows:
        weights = row.weights
        if weights and weights.noncommercial and weights.license:
            found.setdefault(weights.license, {})[row.identity.model] = None
    for licence, models in found.items():
        yield f"Non-commercial weights ({licence}): {', '.join(models)} must not be used commercially"


def _weights(report: Report) -> Iterator[str]:
    kinds = {row.weights.kind for row in report.rows if row.weights}
    if "random" in kinds:
        yield "Random weights: the times are right, and the answers mean nothing"
    if "demo" in kinds:
        yield "Demo weights, which know drawn shapes: the accuracy tells what an export loses, not how good a model is"


def _misfed(report: Report) -> Iterator[str]:
    for accuracy in report.accuracies.values():
        for finding in accuracy.outcome.findings:
            yield f"{accuracy.outcome.identity.file} is fed wrongly and has no accuracy: {finding.sentence}"


def _undecided(report: Report) -> Iterator[str]:
    found = [a.outcome for a in report.accuracies.values() if a.outcome.verdict.kind == "undecided"]
    if found:
        needed = max((o.verdict.pictures_needed or 0 for o in found), default=0)
        enough = f"; about {count(needed)} would do" if needed else ""
        files = found[0].identity.file if len(found) == 1 else f"{len(found)} files"
        yield f"Too few pictures to decide about {files}: {count(max(o.pictures for o in found))} were run{enough}"


def _calibration(report: Report) -> Iterator[str]:
    rows = [row for row in report.rows if row.calibration and row.calibration.kind == "demo"]
    files = {r.identity.sha256 for r in rows}
    if files:
        subject = f"{rows[0].identity.file} was" if len(files) == 1 else f"{len(files)} INT8 files were"
        yield (
            f"{subject} calibrated on drawn pictures: for photographs, calibrate on pictures like those the network "
            "will see (--calib DIR)"
        )


def _data(report: Report) -> Iterator[str]:
    if len(report.data) > 1:
        sets = "; ".join(f"{d.name}, {counted(d.chosen, 'picture')}, {d.sha256[:12]}" for d in report.data)
        yield f"Accuracies come from {len(report.data)} sets of pictures ({sets}) and are not compared across them"


def _not_validated(report: Report) -> Iterator[str]:
    rows = [row for device in report.devices for row in device.rows]
    bare = {row.identity.sha256: row for row in rows if row.accuracy is None}
    if bare and report.accuracies:
        files = next(iter(bare.values())).identity.file if len(bare) == 1 else f"{len(bare)} files"
        yield f"Without a validation, so without an accuracy: {files}"
    elif bare:
        yield "No validation is among these results, so nothing says how well the files answer"


def _chosen(report: Report) -> Iterator[str]:
    several = [a for a in report.accuracies.values() if a.others]
    if several:
        yield (
            f"{counted(len(several), 'artifact was', 'artifacts were')} validated more than once; the validation with "
            "the most pictures counts"
        )
    if report.superseded:
        yield (
            f"{counted(report.superseded, 'older measurement')} of the same artifact on the same device "
            f"{'was' if report.superseded == 1 else 'were'} replaced by a newer one"
        )
