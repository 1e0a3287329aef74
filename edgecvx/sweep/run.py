"""A sweep from its recipe to its report; ``edgecvx.sweep(...)`` is this call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecvx.errors import UsageError
from edgecvx.files import write_atomically
from edgecvx.report.forms.csv import csv
from edgecvx.report.forms.markdown import markdown
from edgecvx.report.forms.page import page
from edgecvx.report.join import Report, join
from edgecvx.results.accuracy import as_json as validation_json
from edgecvx.results.latency import Benchmark
from edgecvx.sweep import forms
from edgecvx.sweep.estimate import Estimate, estimate
from edgecvx.sweep.execute import FIRST_PAUSE, Child, Execution, Hands, Progress
from edgecvx.sweep.gathering import Gathered, gather
from edgecvx.sweep.plan import Place, Plan, here, make_plan
from edgecvx.sweep.recipe.reading import ReadRecipe, read_recipe
from edgecvx.sweep.result import SweepResult, as_json
from edgecvx.sweep.store import Store, place_copy
from edgecvx.sweep.work import BENCHMARK

if TYPE_CHECKING:
    from distributed import Client

RESULT = "sweep.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a sweep would do."""

    plan: Plan
    estimate: Estimate
    out: Path


def sweep(
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    cluster: str | Client | None = None,
    resume: bool = True,
    pause: float = FIRST_PAUSE,
    on_progress: Callable[[Progress], None] | None = None,
) -> SweepResult:
    """Exports, validates and times everything a recipe asks for, and writes one report over all of it.

    Args:
        recipe: A TOML file; ``docs/sweep.md`` explains every key.
        out: The folder of the results; beside the working directory, named as the recipe, by default.
        cluster: Where to compute: ``local:N``, ``tls://…``, ``tcp://…`` on this machine, or a client of Dask's; this
            machine alone where there is none.
        resume: Whether results that are there are taken, and only what is missing is computed.
        pause: Seconds until a device that did not answer is looked for again, at first.
        on_progress: Called as it goes on.

    Returns:
        Everything that is known, also where something is missing; the same lies in ``OUT/sweep.json``.

    Raises:
        EdgecvxError: The recipe cannot be carried out; what is wrong in it is named with its line.
    """
    read = read_recipe(Path(recipe))
    folder = _folder(read, out)
    with _hands(cluster) as (hands, place):
        plan = make_plan(read, place)
        store = Store(folder)
        if not resume:
            store.forget(plan.jobs)
        execution = Execution(plan, store, hands, tell=on_progress, pause=pause)
        execution.run()
    gathered = gather(plan, store, execution.reasons)
    write_report(folder, plan, store, gathered)
    return gathered.result


def preview(recipe: str | Path, *, out: str | Path | None = None) -> Preview:
    """What a sweep would do, and about how long it would take; nothing is written.

    Raises:
        EdgecvxError: The recipe cannot be carried out.
    """
    read = read_recipe(Path(recipe))
    plan = make_plan(read, here())
    folder = _folder(read, out)
    return Preview(plan=plan, estimate=estimate(plan, Store(folder)), out=folder)


def _folder(read: ReadRecipe, out: str | Path | None) -> Path:
    folder = Path(f"{read.path.stem}-sweep") if out is None else Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: the results of a sweep need a folder")
    return folder


@contextlib.contextmanager
def _hands(cluster: str | Client | None) -> Iterator[tuple[Hands, Place]]:
    """Who does the work, and where."""
    if cluster is None:
        yield Child(), here()
        return
    from edgecvx.sweep.remote import on_cluster

    with on_cluster(cluster) as (hands, place):
        yield hands, place


def write_report(out: Path, plan: Plan, store: Store, gathered: Gathered) -> None:
    """Writes ``report.html``, ``.md`` and ``.csv``, ``sweep.json``, and the files and results under readable names."""
    _lay_out(out, plan, store, gathered)
    report = joined(gathered, plan)
    overview = forms.html(gathered.result)
    write_atomically(out / "report.html", page(report, above=overview).encode())
    write_atomically(out / "report.md", (forms.markdown(gathered.result) + "\n" + markdown(report)).encode())
    write_atomically(out / "report.csv", csv(report).encode())
    write_atomically(out / RESULT, as_json(gathered.result).encode())


def joined(gathered: Gathered, plan: Plan) -> Report:
    """The validations and benchmarks, joined as ``edgecvx report`` does it."""
    result = gathered.result
    validations = [gathered.validations[key] for key in plan.jobs if key in gathered.validations]
    benchmarks: list[Benchmark] = [gathered.benchmarks[key] for key in plan.jobs if key in gathered.benchmarks]
    return join(validations, benchmarks, title=f"{result.name}: {forms.summary(result).partition(': ')[2]}")


def _lay_out(out: Path, plan: Plan, store: Store, gathered: Gathered) -> None:
    """Results under the names of cells, for people and for ``edgecvx report``: linked, so that they take no room."""
    for planned in plan.cells:
        export = store.find(planned.export)
        if export is not None:
            for entry in export.record.files:
                place_copy(export.folder / entry.path, out / "files" / planned.cell.name / entry.path)
        for data, key in planned.validations.items():
            if key in gathered.validations:
                text = validation_json(gathered.validations[key])
                write_atomically(out / "results" / f"{planned.cell.name}.{data}.json", text.encode())
    for key in gathered.benchmarks:
        name = plan.jobs[key].name.replace(" ", ".")
        if (result := store.find(key)) is not None:
            place_copy(result.folder / BENCHMARK, out / "results" / f"{name}.json")
