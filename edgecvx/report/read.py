"""The JSON files a report is made of: found, told apart, and treated as untrusted input.

A page that measured by itself saves its raw events, which become a benchmark here, through the checks of any device.

A folder is searched with the folders right in it, no deeper; links are not followed, so that nothing outside is read.
JSON that is neither a validation nor a benchmark (manifests, plans) is left aside without a word. A damaged file in a
folder is a warning; one that was named is an error.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.latency import saved
from edgecvx.results import accuracy as outcome
from edgecvx.results import latency
from edgecvx.spec import from_json

LARGEST = 128 * 2**20
"""Bytes of one file: some five million timed runs."""
MOST = 2000
"""Files of one folder."""
LONGEST = 20_000
"""Characters of one text in it."""
SMALLEST = 1e-9
"""Of milliseconds, ratios and sizes: nothing measured is smaller, and what is divided by it stays a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What was found."""

    validations: tuple[outcome.Validation, ...]
    benchmarks: tuple[latency.Benchmark, ...]
    files: tuple[str, ...]
    """The names of the files they were in."""
    warnings: tuple[str, ...]
    """Files that could not be used, a sentence each."""


def read(paths: Sequence[Path]) -> Results:
    """Reads every validation and benchmark in these files and folders.

    Args:
        paths: Files, each of which has to be one, and folders, which may hold anything.

    Raises:
        EdgecvxError: A named file is missing, damaged or something else; or nothing at all was found.
    """
    found: dict[Path, outcome.Validation | latency.Benchmark] = {}
    warnings: list[str] = []
    for path in paths:
        if not path.is_dir():
            value = _read(path, str(path))
            if value is None:
                raise EdgecvxError(
                    f"{path}: this JSON is neither of edgecvx validate nor of edgecvx bench, nor saved by a page"
                )
            found[path.resolve()] = value
            continue
        for file in _inside(path, warnings):
            try:
                value = _read(file, str(file.relative_to(path)))
            except EdgecvxError as error:
                warnings.append(f"left out: {error}")
                continue
            if value is not None:
                found.setdefault(file.resolve(), value)
    if not found:
        where = ", ".join(map(str, paths)) or "nothing"
        hint = f" ({warnings[0]})" if warnings else ""
        raise UsageError(
            f"{where}: no results here{hint}; edgecvx validate --json FILE and edgecvx bench --json FILE write them"
        )
    return Results(
        validations=tuple(v for v in found.values() if isinstance(v, outcome.Validation)),
        benchmarks=tuple(v for v in found.values() if isinstance(v, latency.Benchmark)),
        files=tuple(path.name for path in found),
        warnings=tuple(warnings),
    )


def _inside(folder: Path, warnings: list[str]) -> Iterator[Path]:
    """The JSON files of a folder and of those right in it, by name, without links and hidden ones."""
    named = 0
    for place in (folder, *(Path(e.path) for e in _entries(folder) if e.is_dir(follow_symlinks=False))):
        for entry in _entries(place):
            if entry.name.endswith(".json") and entry.is_file(follow_symlinks=False):
                if named == MOST:
                    warnings.append(f"{folder} holds more than {MOST} JSON files; the rest was not read")
                    return
                named += 1
                yield Path(entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise EdgecvxError(f"{folder}: {error.strerror or error}") from error


def _read(path: Path, name: str) -> outcome.Validation | latency.Benchmark | None:
    """One file's value; None where it is JSON of something else. Errors call it by ``name``."""
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise EdgecvxError(f"{name}: not a file")
            if status.st_size > LARGEST:
                raise EdgecvxError(
                    f"{name}: {status.st_size // 2**20} MiB; no result is larger than {LARGEST // 2**20}"
                )
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise EdgecvxError(f"{name}: {error.strerror or error}") from error
    try:
        data = json.loads(content.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_float, parse_int=_int)
    except (ValueError, RecursionError) as error:
        raise EdgecvxError(f"{name}: damaged, this is no JSON of a result ({error})") from error
    if not isinstance(data, dict):
        return None
    try:
        return _value(data)
    except EdgecvxError as error:
        raise EdgecvxError(f"{name}: damaged, {error}") from error


def _value(data: dict[str, Any]) -> outcome.Validation | latency.Benchmark | None:
    if data.get("kind") == saved.KIND:
        _check_texts(data)
        return _plausible(saved.benchmark_of(data))
    timed = data.get("kind") == "benchmark"
    if not timed and not {"gate", "data", "artifacts"} <= data.keys():
        return None
    version, known = data.get("schema_version"), latency.SCHEMA_VERSION if timed else outcome.SCHEMA_VERSION
    if version != known:
        raise EdgecvxError(f"its schema_version is {version!r:.40}, this edgecvx reads {known}")
    _check_texts(data)
    if timed:
        return _plausible(from_json(latency.Benchmark, data, where="benchmark"))
    return from_json(outcome.Validation, data, where="validation")


def _plausible(benchmark: latency.Benchmark) -> latency.Benchmark:
    """The benchmark, if its times and ratios can be times and ratios: every plot and comparison rests on that."""
    for d in benchmark.devices:
        positive = [r.value for r in d.ratios]
        positive += [end for r in d.ratios if r.interval for end in (r.interval.low, r.interval.high)]
        for m in d.measured:
            summaries = [s for s in (m.model_summary, m.end_to_end_summary) if s]
            positive += [p.ms for s in summaries for p in s.percentiles]
            turns = (*m.model, *m.end_to_end, *(m.sustained.windows if m.sustained else ()))
            positive += [min(turn.samples_ns) for turn in turns if turn.samples_ns]
            positive += [m.batch, m.fp32_bytes if m.fp32_bytes is not None else 1]
        if min(positive, default=1) < SMALLEST:
            raise EdgecvxError(f"a time, a ratio or a size in it is {min(positive):g}")
        if (least := min((number for m in d.measured for number in _besides(m)), default=0)) < 0:
            raise EdgecvxError(f"a time or a memory in it is {least:g}")
        if len({m.id for m in d.measured}) != len(d.measured):
            raise EdgecvxError("two measurements in it have the same id")
    return benchmark


def _besides(m: latency.Measured) -> Iterator[float]:
    """The times and the memory of a measurement that nothing is divided by: they may be nothing, and never less."""
    known = [m.load_ns, m.first_ns]
    known += [m.memory.runtime, m.memory.model, m.memory.peak] if m.memory else []
    yield from (number for number in known if number is not None)
    yield from m.warm_up.samples_ns if m.warm_up else ()
    for turn in (*m.model, *m.end_to_end, *(m.sustained.windows if m.sustained else ())):
        yield from turn.settle_ns
        yield turn.yardstick_ns or 0
        for times in turn.parts_ns.values():
            yield from times


def _check_texts(data: object) -> None:
    """No result holds a text of megabytes, and every report would have to."""
    left = [data]
    while left:
        value = left.pop()
        if isinstance(value, str) and len(value) > LONGEST:
            raise EdgecvxError(f"a text in it has {len(value)} characters, the most is {LONGEST}")
        if isinstance(value, dict):
            left += value.keys()
            left += value.values()
        elif isinstance(value, list):
            left += value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or abs(value) > 1e18:
        raise ValueError(f"{text[:40]} is too large")
    return value


def _int(text: str) -> int:
    if len(text) > 19:
        raise ValueError(f"{text[:40]} is too large")
    return int(text)
