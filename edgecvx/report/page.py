"""A report as one HTML page: a part per device, then the accuracy, then where everything comes from.

Here the joined figures become the words and plots of the page; how they look stands in ``assets/dossier.html.j2``. Long
lists fold: what matters is shown, the rest is one click away, and two hundred artifacts stay a page one can read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgecvx.accuracy.layers.compare import suspects
from edgecvx.report import accuracy_plots as plots
from edgecvx.report import plots as dossier_plots
from edgecvx.report import svg, words
from edgecvx.report.accuracy_page import layers_told
from edgecvx.report.join import (
    UNKNOWN,
    Accuracy,
    DevicePart,
    Dossier,
    Front,
    Pick,
    Row,
    comparable,
)
from edgecvx.report.remarks import device_remarks, general_remarks
from edgecvx.report.rendering import render
from edgecvx.results.accuracy import DataInfo, VerdictKind
from edgecvx.results.figures import (
    ABSENT,
    VERDICTS,
    between,
    count,
    counted,
    milliseconds,
    percent,
    points,
    sentence,
    span,
    times,
)
from edgecvx.results.latency import Benchmark, DeviceBench, percentile

TEMPLATE = "dossier.html.j2"
ROWS_SHOWN = 24
"""Of a table; the others fold."""
REMARKS_SHOWN = 8
DRAWN = 24
"""Rows of one plot."""
SUSTAINED_SHOWN = 6
PICKS_SHOWN = 12
PLOTTED_RUNS = 60
"""Rows with a plot of their runs, one after the other: the fastest."""

Pairs = words.Pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot for both widths, with its caption."""

    title: str
    told: str
    wide: str
    narrow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a table."""

    link: str
    label: str
    file: str
    verdict: VerdictKind | None
    marks: tuple[str, ...]
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What to take, at a glance."""

    over: str
    name: str
    link: str
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All about one row."""

    key: str
    label: str
    p50: str
    facts: Pairs
    plot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One device."""

    key: str
    title: str
    emulated: str | None
    described: str
    take: str
    picked: bool
    remarks: tuple[str, ...]
    cards: tuple[Card, ...]
    plots: tuple[Plot, ...]
    dominated: tuple[str, ...]
    lines: tuple[Line, ...]
    distribution: tuple[Plot, ...]
    over_time: tuple[Plot, ...]
    runs: tuple[Run, ...]
    noise: str
    facts: Pairs
    conditions: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Where the error of one artifact is born."""

    file: str
    plot: Plot


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where one artifact comes from."""

    file: str
    facts: Pairs


def page(dossier: Dossier, *, title: str | None, files: Sequence[str], warnings: Sequence[str]) -> str:
    """The page.

    Raises:
        RuntimeUnavailableError: Jinja2 is not installed.
    """
    headline = words.headline(dossier)
    return render(
        TEMPLATE,
        {
            "verdicts": VERDICTS,
            "version": dossier.versions,
            "title": title or headline,
            "lead": f"{headline}. {words.lead(dossier)}" if title else words.lead(dossier),
            "overview": _overview(dossier),
            "remarks": (*map(sentence, warnings), *general_remarks(dossier)),
            "columns": [column.name for column in words.COLUMNS],
            "accuracy_columns": [column.name for column in words.ACCURACY_COLUMNS],
            "absent": ABSENT,
            "shown": ROWS_SHOWN,
            "remarks_shown": REMARKS_SHOWN,
            "devices": [_section(device) for device in dossier.devices],
            "unmeasured": [_line(row, words.ACCURACY_COLUMNS) for row in dossier.unmeasured],
            "forests": _forests(dossier),
            "layers": _layers(dossier),
            "origins": _origins(dossier),
            "data": [_data(data) for data in dossier.data],
            "protocols": [_protocol(benchmark) for benchmark in dossier.benchmarks],
            "files": files,
        },
    )


# --- a device -------------------------------------------------------------------------------------------------------


def _overview(dossier: Dossier) -> tuple[Card, ...]:
    """One card per device; a single device's are in its own part."""
    ranked = [device for device in dossier.devices if device.picks]
    return tuple(_card(device.picks[0], device.title) for device in ranked) if len(ranked) > 1 else ()


def _card(pick: Pick, over: str) -> Card:
    row = pick.row
    p50, top1 = percentile(row.summary, 0.5), row.paired
    figures = [f"p50 {milliseconds(row.p50 or 0.0)}"]
    if p50 and p50.interval:
        figures[0] += f" {between(p50.interval.low, p50.interval.high)}"
    if top1:
        figures.append(f"top-1 {percent(top1.artifact.value)}, {points(top1.delta)} {span(top1.interval)}")
    if row.against_fp32:
        figures.append(f"{times(row.against_fp32.value)} the time of the FP32 file")
    return Card(over=over, name=row.label, link=row.key, figures=tuple(figures))


def _section(device: DevicePart) -> Section:
    timed = dossier_plots.with_samples(device.rows)
    drawn_runs = {row.key for row in timed[:PLOTTED_RUNS]}
    chosen = {pick.row.key for pick in device.picks}
    return Section(
        key=device.key,
        title=device.title,
        emulated=device.emulated,
        described=words.described(device.fingerprint),
        take=words.take(device),
        picked=bool(device.picks),
        remarks=device_remarks(device),
        cards=tuple(_card(p, p.row.identity.model) for p in device.picks[:PICKS_SHOWN])
        if len(device.picks) > 1
        else (),
        plots=tuple(_tradeoff(front, device) for front in device.fronts if len(front.rows) > 1),
        dominated=tuple(_dominated(row, by) for front in device.fronts for row, by in front.dominated),
        lines=tuple(_line(row, words.COLUMNS, _marks(row, device, chosen)) for row in device.rows),
        distribution=tuple(_distribution(timed, device)),
        over_time=tuple(_over_time(device)),
        runs=tuple(_run(row, row.key in drawn_runs) for row in device.rows),
        noise=words.noise_told(device),
        facts=words.fingerprint_facts(device.fingerprint),
        conditions=tuple(_conditions(bench, len(device.benches) > 1) for bench in device.benches),
    )


def _marked(told: str, device: DevicePart) -> str:
    return f"Emulated: the emulator's times, not the device's. {told}" if device.emulated is not None else told


def _tradeoff(front: Front, device: DevicePart) -> Plot:
    told = (
        f"Top-1 over {words.pictures(front.data)} ({front.data.sha256[:12]}); left is faster, up is more often right."
    )
    if len(front.best) > 1:
        told += " The line joins what nothing beats in one without losing in the other."
    if len(front.rows) <= dossier_plots.WHISKERS_UP_TO:
        told += " Bars are 95% intervals, upright of the change against FP32."
    left = len(device.rows) - len(comparable(device.rows))
    batches = {row.measured.batch for row in device.rows if row.measured and row.p50 is not None}
    if left and len(batches) > 1:
        told += f" Batch {min(batches)} alone."
    return Plot(
        title="Accuracy against latency",
        told=_marked(told, device),
        wide=dossier_plots.tradeoff(front, width=svg.WIDE),
        narrow=dossier_plots.tradeoff(front, width=svg.NARROW),
    )


def _dominated(row: Row, by: Row) -> str:
    """By whom, and by how much."""
    slower = (row.p50 or 0.0) / (by.p50 or 1.0) - 1
    worse = (by.top1 or 0.0) - (row.top1 or 0.0)
    told = [f"{percent(slower, 0)} slower"] if round(100 * slower) else []
    told += [f"{points(worse).removeprefix('+')} points less"] if round(1e4 * worse) else ["no more often right"]
    return f"{row.label}, by {by.label}: {' and '.join(told)}"


def _marks(row: Row, device: DevicePart, chosen: set[str]) -> tuple[str, ...]:
    marks = ["take this" if len(chosen) == 1 else "take of its model"] if row.key in chosen else []
    marks += ["on the front" for front in device.fronts if row in front.best]
    marks += ["error"] if row.measured and row.measured.error else []
    return tuple(marks)


def _line(row: Row, columns: Sequence[words.Column], marks: tuple[str, ...] = ()) -> Line:
    return Line(
        link=row.key if row.measured else "",
        label=row.label,
        file=row.identity.file if row.identity.file != row.label else "",
        verdict=row.verdict,
        marks=marks,
        cells=tuple((column.figure(row), column.more(row)) for column in columns),
    )


def _distribution(timed: Sequence[Row], device: DevicePart) -> Iterable[Plot]:
    if timed:
        of = f" of the fastest {DRAWN} of {len(timed)}" if len(timed) > DRAWN else ""
        yield Plot(
            title="Every timed run",
            told=_marked(
                f"The model alone{of}, each over its own median: how often each time came, and the slowest of all.",
                device,
            ),
            wide=dossier_plots.strips(timed[:DRAWN], width=svg.WIDE),
            narrow=dossier_plots.strips(timed[:DRAWN], width=svg.NARROW),
        )
    whole = dossier_plots.with_parts(device.rows)
    if whole:
        of = f" The fastest {DRAWN} of {len(whole)}." if len(whole) > DRAWN else ""
        yield Plot(
            title="Where the time goes",
            told=_marked(f"End to end, from a picture file's bytes to the five likeliest classes.{of}", device),
            wide=dossier_plots.stages(whole[:DRAWN], width=svg.WIDE),
            narrow=dossier_plots.stages(whole[:DRAWN], width=svg.NARROW),
        )


def _over_time(device: DevicePart) -> Iterable[Plot]:
    for bench in device.benches:
        rows = [row for row in dossier_plots.with_samples(device.rows) if row.bench is bench]
        if rows and sum(len(row.measured.model) for row in rows if row.measured) > 1:
            at = f" ({bench.before.at})" if len(device.benches) > 1 else ""
            yield Plot(
                title=f"Over the whole measurement{at}",
                told=_marked(
                    "Each turn's median over the artifact's own, and a fixed piece of work timed between: what moves "
                    "both is the machine.",
                    device,
                ),
                wide=dossier_plots.timeline(rows, width=svg.WIDE),
                narrow=dossier_plots.timeline(rows, width=svg.NARROW),
            )
    sustained = [(row, row.measured.sustained) for row in device.rows if row.measured and row.measured.sustained]
    for row, run in [(row, run) for row, run in sustained if run and any(w.samples_ns for w in run.windows)][
        :SUSTAINED_SHOWN
    ]:
        slowed = (
            f"; at the end {times(run.slowdown_ratio)} the time of the beginning"
            if run.slowdown_ratio is not None
            else ""
        )
        yield Plot(
            title=f"{row.label}, {run.seconds / 60:.3g} minutes without a pause",
            told=_marked(f"Milliseconds, the median of every few seconds{slowed}.", device),
            wide=dossier_plots.lasting(row, run, width=svg.WIDE),
            narrow=dossier_plots.lasting(row, run, width=svg.NARROW),
        )


def _run(row: Row, drawn: bool) -> Run:
    return Run(
        key=row.key,
        label=row.label,
        p50=milliseconds(row.p50) if row.p50 is not None else ABSENT,
        facts=words.run_facts(row),
        plot=dossier_plots.in_order(row) if drawn else "",
    )


def _conditions(bench: DeviceBench, several: bool) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    return (bench.before.at if several else "", words.condition_rows(bench.before, bench.after))


# --- accuracy and origin --------------------------------------------------------------------------------------------


def _forests(dossier: Dossier) -> list[Plot]:
    """The change against FP32 of every artifact, one plot per set of pictures."""
    return [
        forest
        for data in dossier.data
        if (forest := _forest(data, [a for a in dossier.accuracies.values() if a.data.sha256 == data.sha256]))
    ]


def _forest(data: DataInfo, accuracies: Sequence[Accuracy]) -> Plot | None:
    judged = [(a.outcome, a.outcome.top1) for a in accuracies if a.outcome.top1]
    if not judged:
        return None
    judged.sort(key=lambda pair: pair[1].delta if pair[1] else 0.0)
    rows = [
        plots.ForestRow(
            label=o.identity.file,
            verdict=o.verdict.kind,
            delta=top1.delta,
            interval=top1.interval,
            allowed_drop=o.verdict.allowed_drop,
        )
        for o, top1 in judged[:DRAWN]
        if top1
    ]
    most = f" The {DRAWN} that lose most, of {len(judged)}." if len(judged) > DRAWN else ""
    return Plot(
        title="Change in top-1 against FP32 PyTorch",
        told=f"Percentage points with 95% intervals, over {words.pictures(data)} ({data.sha256[:12]}).{most}",
        wide=plots.forest(rows, width=svg.WIDE),
        narrow=plots.forest(rows, width=svg.NARROW),
    )


def _layers(dossier: Dossier) -> list[Layers]:
    made = []
    for accuracy in dossier.accuracies.values():
        o = accuracy.outcome
        if o.layers:
            found = suspects(o.layers)
            plot = Plot(
                title="Where the error is born",
                told="Signal to noise of every inner tensor in decibels; higher is closer to FP32. "
                + layers_told(o.layers, found),
                wide=plots.depth(o.layers, found, width=svg.WIDE),
                narrow=plots.depth(o.layers, found, width=svg.NARROW),
            )
            made.append(Layers(file=o.identity.file, plot=plot))
    return made


def _origins(dossier: Dossier) -> list[Origin]:
    first = {row.identity.sha256: row for row in reversed(dossier.rows)}
    return [
        Origin(file=row.identity.file, facts=_origin(row))
        for row in sorted(first.values(), key=lambda r: r.identity.file)
    ]


def _origin(row: Row) -> Pairs:
    i, weights, calibration = row.identity, row.weights, row.calibration
    reference = row.accuracy.outcome.reference if row.accuracy else None
    known: dict[str, str | None] = {
        "SHA-256 over its files": i.sha256,
        "size": f"{count(i.bytes)} bytes",
        "model": f"{i.model}, {i.task.value}",
        "target": f"{i.target} ({i.format}), {i.precision}",
        "weights": f"{weights.kind} {weights.ref}, SHA-256 {weights.sha256}" if weights else None,
        "licence": weights.license or UNKNOWN if weights else None,
        "calibrated on": f"{calibration.name} ({calibration.kind}), {counted(calibration.count, 'picture')}, "
        f"SHA-256 {calibration.sha256}"
        if calibration
        else None,
        "accuracy run in": f"{row.accuracy.outcome.identity.runtime} "
        f"{row.accuracy.outcome.identity.runtime_version or UNKNOWN}"
        if row.accuracy
        else None,
        "accuracy over": f"{words.pictures(row.accuracy.data)}, SHA-256 {row.accuracy.data.sha256}"
        if row.accuracy
        else "not validated",
        "verdict": sentence(row.accuracy.outcome.verdict.reason) if row.accuracy else None,
        "reference": f"{reference.model}, unfolded, PyTorch {reference.torch}" if reference else None,
    }
    return tuple((name, value) for name, value in known.items() if value)


def _data(data: DataInfo) -> Pairs:
    chosen = f"{count(data.chosen)} of {count(data.available)}" + (
        f", drawn with seed {data.seed}" if data.limit else ""
    )
    return (
        ("data", f"{data.name} ({data.kind})"),
        ("pictures", chosen),
        ("excluded, used for calibration", count(data.excluded_calibration)),
        ("SHA-256 over pictures and labels", data.sha256),
    )


def _protocol(b: Benchmark) -> Pairs:
    p = b.protocol
    each = counted(p.runs, "run") if p.runs is not None else f"{p.seconds:g} seconds" if p.seconds is not None else ""
    known = {
        "at": ", ".join(dict.fromkeys(d.before.at for d in b.devices)),
        "on": ", ".join(d.fingerprint.name for d in b.devices),
        "of each artifact": f"{each}, in {counted(p.rounds, 'round')} of alternating turns".lstrip(", "),
        "end to end": f"yes, pictures: {p.pictures}" if p.end_to_end else "no",
        "memory": "in a process of its own" if p.memory else "no",
        "without a pause": f"{p.sustained_minutes:g} minutes" if p.sustained_minutes else "no",
        "edgecvx": b.edgecvx,
    }
    return tuple((name, value) for name, value in known.items() if value)
