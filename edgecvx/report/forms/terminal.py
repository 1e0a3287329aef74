"""A validation and a benchmark on a terminal, as Rich renderables; nothing prints.

A benchmark has a table for each device, never two devices in one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgecvx.latency.warnings import baseline
from edgecvx.report import words
from edgecvx.report.join import UNKNOWN
from edgecvx.report.tables import judged_cells, layer_cells
from edgecvx.results import statistics
from edgecvx.results.accuracy import ArtifactOutcome, Interval, Validation, VerdictKind
from edgecvx.results.figures import ABSENT, VERDICTS, count, counted
from edgecvx.results.latency import Benchmark, DeviceBench, Fingerprint, GateResult, Measured, Summary, percentile
from edgecvx.results.layers import ranked, suspects
from edgecvx.web.visits.browsers import BROWSER_FACT, TIMER_FACT

T = TypeVar("T")

_NO_INTERVAL = f"no interval below {statistics.LEAST_ROUNDS} rounds"
RATIOS_SHOWN = 12
LAYERS_SHOWN = 6
COLOURS: dict[VerdictKind, str] = {
    "pass": "green",
    "fail": "red",
    "undecided": "yellow",
    "none": "dim",
    "error": "red",
}


# --- a validation ---------------------------------------------------------------------------------------------------


def validation_terminal(validation: Validation) -> Group:
    """A validation as it is shown at the end of ``edgecvx validate``; its warnings are shown apart."""
    from rich.console import Group

    table = _table("file", min_width=20)
    table.add_column("verdict", no_wrap=True)
    _figures(table, "FP32", "file", "change", "95% interval", "flips", "SQNR")
    for o in validation.artifacts:
        word = Text(" ".join(VERDICTS[o.verdict.kind]), style=COLOURS[o.verdict.kind])
        table.add_row(Text(o.identity.file), word, *map(Text, judged_cells(o)))
    return Group(
        Text(words.verdict(validation), style="bold"),
        Text(f"{words.compared(validation)} {words.gate(validation)}", style="dim"),
        table,
        *(part for o in validation.artifacts for part in _remarks(o)),
    )


def validation_errors(validation: Validation) -> Iterator[str]:
    """What could not be measured, and why, a sentence each."""
    for o in validation.artifacts:
        if o.error is not None:
            yield o.error if o.identity.file in o.error else f"{o.identity.file}: {o.error}"


def _remarks(o: ArtifactOutcome) -> Iterator[RenderableType]:
    """What a person should know about one artifact, as paragraphs and short tables."""
    yield Text.assemble((o.identity.file, "bold"), "  ", (o.verdict.reason, COLOURS[o.verdict.kind]))
    for mistake in (o.error, *(finding.sentence for finding in o.findings)):
        if mistake is not None and mistake not in o.verdict.reason:  # the reason is often the first of them
            yield Text(f"  {mistake}", style="red")
    classes, losses = words.worst_classes(o), words.biggest_losses(o)
    lines = (
        words.agreement(o),
        o.recheck and o.recheck.sentence,
        classes and f"worst classes: {classes}",
        losses and f"biggest losses: {losses}",
    )
    yield from (Text(f"  {line}", style="dim") for line in lines if line)
    if o.layers:
        found = suspects(o.layers)
        yield Text(f"  {words.layers(o)}", style="red" if found else "dim")
        table = _table("layer")
        table.add_column("what it is", no_wrap=True)
        _figures(table, "born here", "in total", "worst channel")
        for layer in ranked(o.layers)[:LAYERS_SHOWN]:
            table.add_row(*map(Text, layer_cells(layer)), style="red" if layer in found else None)
        yield table
    yield Text("")


def _table(name: str, *, min_width: int | None = None, **look: Any) -> Table:
    """With a first column that folds."""
    table = Table(box=box.SIMPLE_HEAD, **look)
    table.add_column(name, overflow="fold", min_width=min_width)
    return table


def _figures(table: Table, *names: str) -> None:
    """Columns of numbers, which are never cut."""
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


# --- a benchmark ----------------------------------------------------------------------------------------------------


def benchmark_terminal(benchmark: Benchmark) -> Group:
    """The benchmark as it is shown at the end of ``edgecvx bench``; its warnings are shown apart."""
    parts: list[RenderableType] = []
    for device in benchmark.devices:
        parts += _device(device, [g for g in benchmark.gates if g.device == device.fingerprint.name])
    parts += [_gate(gate) for gate in benchmark.gates]
    return Group(*parts)


def benchmark_errors(benchmark: Benchmark) -> Iterator[str]:
    """What could not be measured, and why, a sentence each."""
    for device in benchmark.devices:
        name = device.fingerprint.name
        if device.error is not None:
            yield device.error if name in device.error else f"{name}: {device.error}"
        for m in device.measured:
            if m.error is not None:
                yield f"{name}: {_named(device, m)}: {m.error}"


def milliseconds(ms: float) -> str:
    """Three digits and no more: ``0.0123``, ``1.23``, ``12.3``, ``1234``."""
    return f"{ms:.3g}" if ms < 100 else f"{ms:.0f}"


def span(interval: Interval | None) -> str:
    """``[1.21, 1.26]``."""
    return "" if interval is None else f"[{milliseconds(interval.low)}, {milliseconds(interval.high)}]"


def fingerprint_lines(f: Fingerprint) -> tuple[str, str]:
    """A device in two lines; what was not read is left out of neither."""
    if BROWSER_FACT in f.facts:
        return _browser_lines(f)
    what = f.board or f.cpu or f.machine
    memory = UNKNOWN if f.memory_bytes is None else f"{f.memory_bytes / 2**30:.1f} GiB"
    chip = " ".join(dict.fromkeys(part for part in (f.soc, f.cpu) if part and part != what))
    system = [f.os or UNKNOWN, f.kernel or UNKNOWN, f"Python {f.python or UNKNOWN}", f"numpy {f.numpy or UNKNOWN}"]
    return ", ".join(part for part in (what, chip, f.machine, _cores(f), memory) if part), ", ".join(
        (*system, f"id {f.id}")
    )


def _browser_lines(f: Fingerprint) -> tuple[str, str]:
    """Of a browser, which has neither Python nor a processor that it tells of, but a clock of its own."""
    timer, browser = f.facts.get(TIMER_FACT), f.facts[BROWSER_FACT]
    clock = f"its clock in {timer}" if timer else "its clock unknown"
    return ", ".join(filter(None, (browser, f.board, f.os or UNKNOWN, _cores(f)))), f"{clock}, id {f.id}"


def _cores(f: Fingerprint) -> str:
    return counted(f.cores, "core") if f.cores is not None else "cores unknown"


def runtime_lines(device: DeviceBench) -> Iterator[str]:
    """Who really computed, as the runtimes themselves say: ``ai-edge-litert 2.3.0: XNNPACK, 1 of 1 nodes``."""
    found: dict[tuple[str, ...], list[Measured]] = {}
    for m in device.measured:
        version = m.identity.runtime_version
        if version is not None:
            name = version if " " in version else f"{m.identity.runtime} {version}"
            floats = "" if m.arithmetic is None else f", floats in {m.arithmetic}"
            found.setdefault((m.identity.runtime, f"{name}: {m.backend or UNKNOWN}{floats}"), []).append(m)
    several = Counter(runtime for runtime, _ in found)
    for (runtime, line), of in found.items():
        labels = list(dict.fromkeys(map(label, of)))
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        yield line + (f" ({labels[0]}{more})" if several[runtime] > 1 else "")


def label(m: Measured) -> str:
    """A file, its precision where its name does not say it, and what sets it apart from the same file elsewhere."""
    settings = [] if m.identity.precision in m.identity.file else [m.identity.precision]
    settings += [f"{key}={value}" for key, value in m.options.items()]
    settings += [f"{m.batch} pictures a run"] if m.batch > 1 else []
    return m.identity.file + (f" ({', '.join(settings)})" if settings else "")


def _device(device: DeviceBench, gates: Sequence[GateResult]) -> Iterator[Any]:
    name = device.fingerprint.name
    if device.fingerprint.emulated is not None:
        yield Text(f"{name}: EMULATED ({device.fingerprint.emulated}), no latencies of a device", style="bold red")
    else:
        yield Text(name, style="bold")
    for line in (*fingerprint_lines(device.fingerprint), *runtime_lines(device)):
        yield Text(line, style="dim")
    if any(m.model_summary or m.told for m in device.measured):
        yield _times(device)
    for line in dict.fromkeys(f"{label(m)}: {m.recheck.sentence}" for m in device.measured if m.recheck is not None):
        yield Text(line, style="dim")
    for m in device.measured:
        if m.error is not None:
            yield Text(f"! {_named(device, m)}: {m.error}", style="red")
        if m.end_to_end_note is not None:
            yield Text(f"{label(m)} has no end to end: {m.end_to_end_note}", style="dim")
        if m.sustained is not None:
            yield Text(f"{_named(device, m)}: {sustained_line(m)}")
    yield from _ratios(device, gates)
    if device.noise is not None:
        yield Text(device.noise.sentence, style="dim")
    if device.error is not None:
        yield Text(f"! {device.error}", style="red")
    yield Text("")


def _times(device: DeviceBench) -> Table:
    """One row for each artifact, runtime and number of threads."""
    unit = "ms" if device.fingerprint.emulated is None else "EMULATED ms"
    summaries = [m.model_summary for m in device.measured if m.model_summary is not None]
    given = [q for q in statistics.ENOUGH if q > 0.5 and any(percentile(s, q) for s in summaries)]
    table = _table("file", min_width=20, pad_edge=False, padding=(0, 1, 0, 0), caption_justify="left")
    table.caption = f"times in {unit}, of the model alone but end to end, from picture file to classes"
    names = ("threads", "load", "first", "p50 [95%]", *(f"p{round(100 * q)}" for q in given), "max")
    _figures(table, *names, "end to\nend", "pictures\na second", "model\nMB", "peak\nMB")
    for m in device.measured:
        if m.model_summary is None and m.told is None:
            continue
        row = [_threads_cell(m), *(_cell(ns, lambda ns: milliseconds(ns / 1e6)) for ns in (m.load_ns, m.first_ns))]
        row += [*_model_cells(m, given), _cell(m.end_to_end_summary, lambda s: milliseconds(s.percentiles[0].ms))]
        memory = (m.memory.model, m.memory.peak) if m.memory else (None, None)
        row += [_cell(m.model_summary, _rate), *(_cell(size, lambda size: f"{size / 1e6:.1f}") for size in memory)]
        table.add_row(Text(label(m)), *row)
    return table


def _threads_cell(m: Measured) -> str:
    """What was given: ``4``, ``8 (took 2)`` where the runtime took others; or ``its own``, ``1 (its own)``."""
    if m.threads is None:
        return "its own" if m.threads_told is None else f"{m.threads_told} (its own)"
    return str(m.threads) if m.threads_told in (None, m.threads) else f"{m.threads} (took {m.threads_told})"


def _model_cells(m: Measured, given: Sequence[float]) -> list[str]:
    s = m.model_summary
    if s is None:
        mean = _cell(m.told, lambda tool: f"mean {milliseconds(tool.mean)}")
        return [mean, *(ABSENT for _ in given), _cell(m.told.max if m.told else None, milliseconds)]
    p50 = s.percentiles[0]
    others = [_cell(percentile(s, q), lambda p: milliseconds(p.ms)) for q in given]
    return [f"{milliseconds(p50.ms)} {span(p50.interval)}".strip(), *others, milliseconds(s.max)]


def _ratios(device: DeviceBench, gates: Sequence[GateResult]) -> Iterator[Any]:
    """Each against the file its gate names, the FP32 file of its own runtime, or the first of its batch."""
    lines = []
    against = {g.measured: g.against for g in gates if g.against is not None}
    for place, m in enumerate(device.measured):
        if m.id in against.values():  # one sentence about two files, and in the direction of the gate's
            continue
        base = next((o for o in device.measured if o.id == against.get(m.id)), None)
        base = base or baseline(device.measured, m)
        base = base or next((o for o in device.measured[:place] if o.batch == m.batch), None)
        ratio = None if base is None else statistics.ratio_of(device.ratios, m.id, base.id)
        if base is None or ratio is None:
            continue
        i = ratio.interval
        sure = f"95% interval {i.low:.3f} to {i.high:.3f}" if i else _NO_INTERVAL
        names = [_named(device, x) for x in (m, base)]
        lines.append(
            f"{names[0]} takes {ratio.value:.3f} times as long as {names[1]} ({sure}, {counted(ratio.rounds, 'round')})"
        )
    yield from map(Text, lines[:RATIOS_SHOWN])
    if len(lines) > RATIOS_SHOWN:
        yield Text(f"… and {len(lines) - RATIOS_SHOWN} more ratios: --json has all of them", style="dim")


def sustained_line(m: Measured) -> str:
    """What became of an artifact that ran without a pause."""
    s = m.sustained
    if s is None or s.slowdown_ratio is None:
        return "the sustained run was too short to tell anything"
    sure = f" (95% interval {s.slowdown.low:.3f} to {s.slowdown.high:.3f})" if s.slowdown is not None else ""
    hottest = [w.celsius for w in s.windows if w.celsius is not None]
    heat = f", {max(hottest):.0f} °C at most" if hottest else ""
    minutes = f"after {s.seconds / 60:.1f} minutes without a pause"
    return f"{minutes}, a run took {s.slowdown_ratio:.3f} times as long{sure}{heat}"


def _gate(gate: GateResult) -> RenderableType:
    sign, word = VERDICTS[gate.verdict]
    return Text(f"{sign} {word}: {gate.device}: {gate.sentence}", style=COLOURS[gate.verdict])


def _named(device: DeviceBench, m: Measured) -> str:
    """Its label, with its threads where the device was measured with several numbers of them."""
    threads = "its own threads" if m.threads is None else counted(m.threads, "thread")
    return f"{label(m)} with {threads}" if len({o.threads for o in device.measured}) > 1 else label(m)


def _cell(value: T | None, text: Callable[[T], str]) -> str:
    return ABSENT if value is None else text(value)


def _rate(summary: Summary) -> str:
    return f"{summary.per_second:.3g}" if summary.per_second < 1e3 else count(round(summary.per_second))
