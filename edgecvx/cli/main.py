"""The command line: parse, call, show, exit code. What it shows comes from the Python API; the core never prints.

Exit codes: 0 done; 1 a gate failed or is undecided; 2 an error the user can mend, told in one line.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from edgecvx import __version__
from edgecvx.cli import show
from edgecvx.cli.bench import bench
from edgecvx.cli.build_engine import build_engine
from edgecvx.cli.report import report
from edgecvx.cli.validate import validate
from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.spec import CALIBRATION_PICTURES, InputKind, Precision, Task, to_json

app = typer.Typer(
    name="edgecvx",
    help="From a ConvNeXt V2 checkpoint to a proven file for every edge runtime.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Weights(str, enum.Enum):
    """The weights that go by a name; anything else is a file."""

    AUTO = "auto"
    IMAGENET = "imagenet"
    DEMO = "demo"
    RANDOM = "random"


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


CommandLineError: Any = typer.BadParameter.__mro__[2]
"""Click's ClickException. Newer Typer carries a click of its own, so that ``import click`` may name another one."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
ArtifactPath = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A file edgecvx export wrote.")]


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A variant (femto), a timm name with tag, a checkpoint file, or a transformers folder or hub id.",
        ),
    ],
    target: Annotated[str, typer.Option("--target", "-t", help="One target, or several with commas.")],
    precision: Annotated[Precision | None, typer.Option(help="Precision of the files (default fp32).")] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Short for --precision fp16.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Short for --precision int8.")] = False,
    weights: Annotated[
        str, typer.Option(metavar="auto|imagenet|demo|random|FILE", help="Which weights a named model gets.")
    ] = Weights.AUTO.value,
    task: Annotated[Task, typer.Option(help="What the files return.")] = Task.CLASSIFY,
    image_size: Annotated[
        int | None, typer.Option(metavar="N", help="Height and width, a multiple of 32; the checkpoint's by default.")
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Pictures per run.")] = 1,
    input_kind: Annotated[
        InputKind, typer.Option("--input", help="Take normalized floats, or the picture's own bytes.")
    ] = InputKind.FLOAT,
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
    as_json: AsJson = False,
) -> None:
    """Write a model for one or more targets; each file is run and proved, against FP32 PyTorch or its INT8 plan."""
    from edgecvx.pipeline import export as run

    chosen = _precision(precision, fp16, int8)
    with show.progress() as on_step:
        result = run(
            model,
            target=[name.strip() for name in target.split(",") if name.strip()],
            precision=chosen,
            weights=weights,
            task=task,
            image_size=image_size,
            batch=batch,
            input_kind=input_kind,
            labels=labels,
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
    if as_json:
        artifacts = [
            {"target": a.target, "path": str(a.path), "seconds": round(a.seconds, 3), "manifest": to_json(a.manifest)}
            for a in result.artifacts
        ]
        _print_json({"artifacts": artifacts, "warnings": list(result.warnings)})
        return
    proof = "their plan" if chosen.calibrated else "FP32 PyTorch"
    table = Table(title=f"in {escape(str(out))}, proved against {proof}", **show.PLAIN)
    for name in ("target", "file", "size", "error", "cosine", "time"):
        table.add_column(name, overflow="fold")
    for a in result.artifacts:
        check = a.manifest.self_check
        size = show.megabytes(sum(entry.bytes for entry in a.manifest.files))
        table.add_row(
            a.target, escape(a.path.name), size, f"{check.max_error:.1e}", f"{check.cosine:.6f}", f"{a.seconds:.1f} s"
        )
    show.out.print(table)
    for note in dict.fromkeys(a.manifest.self_check.note for a in result.artifacts if a.manifest.self_check.note):
        show.out.print(escape(note), style="dim")


def _precision(precision: Precision | None, fp16: bool, int8: bool) -> Precision:
    """The one precision that was asked for, by its name or its short option."""
    asked = {p for p in (precision, Precision.FP16 if fp16 else None, Precision.INT8 if int8 else None) if p}
    if len(asked) > 1:
        raise UsageError(f"a file has one precision, not {' and '.join(sorted(p.value for p in asked))}")
    return asked.pop() if asked else Precision.FP32


app.command()(validate)
app.command("build-engine")(build_engine)
app.command()(bench)
app.command()(report)


@app.command()
def predict(
    artifact: ArtifactPath,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Picture files.")],
    top: Annotated[int, typer.Option(metavar="N", min=1, help="How many classes to show.")] = 5,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads the runtime may use.")] = None,
    as_json: AsJson = False,
) -> None:
    """Classify pictures with an artifact, in its own runtime and with its own preprocessing."""
    from edgecvx.runtimes.artifact import load

    answers: list[dict[str, Any]] = []
    failed = 0
    with load(artifact, threads=threads) as opened:
        for image in images:
            try:
                (ranked,) = opened.predict([image], top=top)
            except EdgecvxError as error:
                if len(images) == 1:
                    raise
                failed += 1
                told = str(error) if str(image) in str(error) else f"{image}: {error}"
                show.error(told)
                answers.append({"image": str(image), "error": told})
                continue
            answers.append({"image": str(image), "classes": to_json(ranked)})
    if as_json:
        _print_json({"artifact": str(artifact), "answers": answers})
    else:
        for answer in answers:
            if "classes" in answer:
                show.out.print(escape(answer["image"]), style="bold", soft_wrap=True)
                table = Table("", "class", "probability", **show.PLAIN)
                for place, row in enumerate(answer["classes"], 1):
                    table.add_row(str(place), escape(row["label"]), f"{row['probability']:.1%}")
                show.out.print(table)
    if failed:
        raise UsageError(f"{failed} of {len(images)} pictures could not be classified")


@app.command()
def inspect(
    artifact: ArtifactPath,
    gpu_delegate: Annotated[
        bool, typer.Option("--gpu-delegate", help="Ask TensorFlow whether TFLite's GPU delegate would take the file.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is in an artifact: where it came from, how it was proved, and its ops as the file has them."""
    from edgecvx.inspection.artifact import inspect as look
    from edgecvx.inspection.gpu_delegate import gpu_opinion

    found = look(artifact)
    if gpu_delegate and found.manifest.format != "tflite":
        raise UsageError(f"{found.path.name} is no .tflite file: only those have a GPU delegate")
    opinion = gpu_opinion(found.path) if gpu_delegate else None
    if as_json:
        _print_json(
            {
                "path": str(found.path),
                "manifest": to_json(found.manifest),
                "ops": to_json(found.groups),
                "bytes": found.total_bytes,
                "macs": found.macs,
                **({"int8_share": found.integer_share} if found.manifest.quantized else {}),
                **({"gpu_delegate": to_json(opinion)} if opinion else {}),
                **({} if found.rules_broken is None else {"rules_broken": list(found.rules_broken)}),
                **({} if found.pairs is None else {"pairs": to_json(found.pairs)}),
            }
        )
        return
    show.out.print(show.manifest_table(found))
    show.out.print(show.ops_table(found))
    for op, reason in found.manifest.kept_float.items():
        show.out.print(f"[bold]{escape(op)}[/] stays in higher precision: {escape(reason)}", highlight=False)
    if opinion is not None:
        told = "would take this file" if opinion.compatible else "would not: " + "; ".join(opinion.reasons)
        show.out.print(f"[bold]GPU delegate[/] {escape(told)}, says TensorFlow's Analyzer; a phone may differ")


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the variants and the published weights for each, with their licences."""
    from edgecvx.models.variants import TAGS, VARIANTS

    if as_json:
        _print_json({"variants": to_json(VARIANTS), "tags": to_json(TAGS)})
        return
    table = Table("model", "classes", "size", "crop", "licence", **show.PLAIN)
    for name, tag in TAGS.items():
        size = f"{tag.preprocess.size}" + (f" ({tag.test_size})" if tag.test_size else "")
        style = "yellow" if "-nc" in tag.license else ""
        table.add_row(
            name,
            str(tag.num_classes or "—"),
            size,
            f"{tag.preprocess.crop_pct:g}",
            f"[{style}]{tag.license}[/]" if style else tag.license,
        )
    show.out.print(table)
    show.out.print("size: the training size (and the size these weights score best at)", style="dim")
    show.out.print("cc-by-nc-4.0 forbids commercial use", style="dim")


@app.command()
def targets(as_json: AsJson = False) -> None:
    """List the targets: what they write, for which runtime, and whether that runtime is here."""
    from edgecvx.runtimes import availability
    from edgecvx.targets import all_targets

    rows = [(t, availability(t.format.runtime)) for t in all_targets()]
    if as_json:
        _print_json({"targets": [{**t.as_json(), "runtime_version": found.version} for t, found in rows]})
        return
    table = Table("target", "writes", "precisions", "runtime", "threads", "runs on", **show.PLAIN)
    for t, found in rows:
        here = found.version or f"[yellow]missing: pip install 'edgecvx\\[{t.format.extra}]'[/]"
        if found.version is None and t.format.proved_in:
            here = f"[yellow]on the device[/], checked in {t.format.proved_in}"
        threads = "—" if t.threads is None else str(t.threads)
        precisions = " ".join(p.value for p in t.precisions)
        table.add_row(t.name, t.format.suffix, precisions, f"{t.format.runtime} {here}", threads, t.note)
    show.out.print(table)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look at this machine: which runtimes and tools are here, which versions, and how to get what is missing."""
    from edgecvx.inspection.doctor import diagnose

    diagnosis = diagnose()
    if as_json:
        _print_json(to_json(diagnosis))
        return
    facts = Table(show_header=False, **show.PLAIN)
    for key, value in diagnosis.machine.items():
        facts.add_row(key, escape(value))
    show.out.print(facts)
    table = Table("", "name", "version", "purpose", "to get it", **show.PLAIN)
    for finding in (*diagnosis.runtimes, *diagnosis.tools):
        mark = "[green]✓[/]" if finding.version else "[yellow]–[/]"
        table.add_row(mark, finding.name, escape(finding.version or ""), finding.purpose, escape(finding.hint))
    show.out.print(table)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """From a ConvNeXt V2 checkpoint to a proven file for every edge runtime."""
    if version:
        typer.echo(f"edgecvx {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Runs the command line and exits with its code."""
    for name in ("SIGTERM", "SIGHUP"):  # a polite kill and a terminal that was closed clean up as Ctrl-C does
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a tick, a file name that is no UTF-8
    code = run(sys.argv[1:])
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Not sys.exit: CPython remembers an interrupt that passed through an import and ends itself by the signal then, and
    # the native code of a runtime has been seen to crash while it is torn down. Everything of ours is closed by now.
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Runs one command; every error a user can mend is one line and exit code 2."""
    try:
        result = app(args=arguments, prog_name="edgecvx", standalone_mode=False)
    except CommandLineError as error:
        return _fail(f"{error.format_message()} (see 'edgecvx --help')")
    except (typer.Abort, KeyboardInterrupt):
        return _fail(_STOPPED)
    except EdgecvxError as error:
        return _fail(str(error))
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has seen enough. Typer and rich exit with 1 then, which is a failed gate's code.
        return 0
    except OSError as error:
        return _fail(_told(error))
    except MemoryError as error:
        return _fail(f"not enough memory: a smaller --batch or --image-size takes less. {error}")
    if result == 130:  # newer Typer turns Ctrl-C into this before we see it
        return _fail(_STOPPED)
    return result if isinstance(result, int) else 0


_STOPPED = "stopped; nothing half-written was left behind, and files from before are as they were"


def _fail(message: str) -> int:
    with contextlib.suppress(OSError):  # where even this cannot be told, the exit code does
        show.error(" ".join(message.split()))
    return 2


def _told(error: OSError) -> str:
    """An error of the operating system as a sentence."""
    place = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{place}no space left on the disk; nothing half-written was left behind"
    return f"{place}{error.strerror or error}"


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
