"""``edgecvx export``: a model for one or more targets."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from edgecvx.cli import show
from edgecvx.errors import UsageError
from edgecvx.results.figures import megabytes
from edgecvx.spec import CALIBRATION_PICTURES, InputKind, OutputKind, Precision, Task, to_json

if TYPE_CHECKING:
    from edgecvx.pipeline import ExportResult
    from edgecvx.publishing.hub import Pushed
    from edgecvx.report.join import Report


class Quantizer(str, enum.Enum):
    """Who chooses the scales of an INT8 file."""

    EDGECVX = "edgecvx"
    NNCF = "nncf"


class RangeEstimator(str, enum.Enum):
    """How edgecvx chooses ranges."""

    AUTO = "auto"
    MINMAX = "minmax"
    PERCENTILE = "percentile"
    MSE = "mse"


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A variant (femto), a timm name with tag, a checkpoint file, or a transformers folder or hub id.",
        ),
    ],
    target: Annotated[str, typer.Option("--target", "-t", help="One target, or several with commas.")],
    platform: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="native, web: where it runs, with commas (default: here; in browsers); a Pi is aarch64-linux.",
        ),
    ] = "",
    precision: Annotated[Precision | None, typer.Option(help="Precision of the files (default fp32).")] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Short for --precision fp16.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Short for --precision int8.")] = False,
    weights: Annotated[
        str, typer.Option(metavar="auto|imagenet|demo|random|FILE", help="Which weights a named model gets.")
    ] = "auto",
    task: Annotated[Task, typer.Option(help="What the files return.")] = Task.CLASSIFY,
    image_size: Annotated[
        int | None, typer.Option(metavar="N", help="Height and width, a multiple of 32; the checkpoint's by default.")
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Pictures per run.")] = 1,
    input_kind: Annotated[
        InputKind, typer.Option("--input", help="Take normalized floats, or the picture's own bytes.")
    ] = InputKind.FLOAT,
    output: Annotated[
        OutputKind, typer.Option(help="What a classifier's files return: softmax left to the reader, or in the file.")
    ] = OutputKind.LOGITS,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="Class names: one a line, or JSON.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path(),
    dump: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write the canonical and quantized graphs there.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="For --weights random.")] = 0,
    calib: Annotated[
        str,
        typer.Option(
            metavar="DIR|demo",
            help="int8: a folder of pictures like those the network will see, or drawn ones.",
        ),
    ] = "demo",
    calib_samples: Annotated[int, typer.Option(metavar="N", help="int8: how many of them.")] = CALIBRATION_PICTURES,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="int8: the .plan.json of an earlier export, not a calibration.")
    ] = None,
    quantizer: Annotated[Quantizer, typer.Option(help="int8: who chooses the scales.")] = Quantizer.EDGECVX,
    estimator: Annotated[RangeEstimator, typer.Option(help="int8: how ranges are chosen.")] = RangeEstimator.AUTO,
    card: Annotated[bool, typer.Option("--card", help="Also write a model card, in Markdown.")] = False,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR|FILE", help="card, push: what validate and bench wrote as JSON, for the card's figures."
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="Also publish the files and their card on the Hugging Face hub."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="push: let everybody see them.")] = False,
    as_json: show.AsJson = False,
) -> None:
    """Write a model for one or more targets; each file is run and proved, against FP32 PyTorch or its INT8 plan."""
    from edgecvx.pipeline import export as run

    chosen = _precision(precision, fp16, int8)
    if results and not (card or push):
        raise UsageError("--results goes with --card or --push: its figures stand in the model card")
    # Before anything is exported: a wrong name costs no export.
    measured = _measured(results) if results else None
    _check_push(push, public)
    with show.progress() as on_step:
        result = run(
            model,
            target=_names(target),
            precision=chosen,
            weights=weights,
            task=task,
            image_size=image_size,
            batch=batch,
            input_kind=input_kind,
            output=output,
            labels=labels,
            platforms=_names(platform),
            out=out,
            dump=dump,
            seed=seed,
            calib=calib,
            calib_samples=calib_samples,
            plan=plan,
            quantizer=quantizer.value,
            estimator=estimator.value,
            on_step=on_step,
        )
    show.warnings(result.warnings)
    if card:
        _write_card(result, out, measured)
    if as_json:
        pushed = _push(result, push, public, results)
        artifacts = [
            {
                **{"target": a.target, "path": str(a.path), "seconds": round(a.seconds, 3)},
                **{"notes": list(a.notes), "manifest": to_json(a.manifest)},
            }
            for a in result.artifacts
        ]
        arrived = {} if pushed is None else {"pushed": to_json(pushed)}
        show.json_object({"artifacts": artifacts, "warnings": list(result.warnings), **arrived})
        return
    proof = "their plan" if chosen.calibrated else "FP32 PyTorch"
    table = Table(title=f"in {escape(str(out))}, proved against {proof}", **show.PLAIN)
    for name in ("target", "file", "size", "error", "cosine", "time"):
        table.add_column(name, overflow="fold")
    for a in result.artifacts:
        check = a.manifest.self_check
        size = megabytes(sum(entry.bytes for entry in a.manifest.files))
        table.add_row(
            a.target, escape(a.path.name), size, f"{check.max_error:.1e}", f"{check.cosine:.6f}", f"{a.seconds:.1f} s"
        )
    show.out.print(table)
    notes = (note for a in result.artifacts for note in (a.manifest.self_check.note, *a.notes))
    for note in dict.fromkeys(filter(None, notes)):
        show.out.print(escape(note), style="dim")
    if (pushed := _push(result, push, public, results)) is not None:
        seen = "private" if pushed.private else "public"
        sentence = f"{len(pushed.files)} files in {pushed.repository}, {seen}: {pushed.url}"
        show.out.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _check_push(repository: str | None, public: bool) -> None:
    """Refuses what no hub would take, before anything is exported."""
    if repository is None:
        if public:
            raise UsageError("--public goes with --push: nothing is published without it")
        return
    from edgecvx.publishing.hub import check

    check(repository)


def _push(result: ExportResult, repository: str | None, public: bool, results: Sequence[Path] | None) -> Pushed | None:
    """Publishes all files of this call; their export stays whatever comes of it."""
    if repository is None:
        return None
    from edgecvx.publishing.hub import push

    return push([a.path for a in result.artifacts], repository, public=public, results=results or ())


def _measured(places: Sequence[Path]) -> Report:
    """What was measured, joined."""
    from edgecvx.report.join import join
    from edgecvx.report.read import read

    found = read(places)
    show.warnings(found.warnings)
    return join(found.validations, found.benchmarks)


def _write_card(result: ExportResult, folder: Path, measured: Report | None) -> None:
    """The card of all files of this call, beside them."""
    from edgecvx.files import write_atomically
    from edgecvx.report.forms.card import card, card_name

    artifacts = {a.path: a.manifest for a in result.artifacts}
    write_atomically(folder / card_name(artifacts), card(artifacts, measured).encode())


def _names(text: str) -> list[str]:
    """What was written with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _precision(precision: Precision | None, fp16: bool, int8: bool) -> Precision:
    """The one precision that was asked for, by its name or its short option."""
    asked = {p for p in (precision, Precision.FP16 if fp16 else None, Precision.INT8 if int8 else None) if p}
    if len(asked) > 1:
        raise UsageError(f"a file has one precision, not {' and '.join(sorted(p.value for p in asked))}")
    return asked.pop() if asked else Precision.FP32
