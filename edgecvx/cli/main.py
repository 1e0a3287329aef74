"""The command line: parse, call, show, exit code. What it shows comes from the Python API; the core never prints.

One file per verb; here they come together. Exit codes: 0 done; 1 a gate failed or is undecided; 2 an error the user can
mend, in one line.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from edgecvx import __version__
from edgecvx.cli import completion as shells
from edgecvx.cli import show
from edgecvx.cli.bench import bench
from edgecvx.cli.build_engine import build_engine
from edgecvx.cli.completion import completion
from edgecvx.cli.export import export
from edgecvx.cli.inspect import inspect
from edgecvx.cli.listing import doctor, models, targets
from edgecvx.cli.predict import predict
from edgecvx.cli.report import report
from edgecvx.cli.sweep import sweep
from edgecvx.cli.tune import tune
from edgecvx.cli.validate import validate
from edgecvx.errors import EdgecvxError, with_page

app = typer.Typer(
    name="edgecvx",
    help="From a ConvNeXt V2 checkpoint to a proven file for every edge runtime.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
JOBS: Mapping[str, Sequence[Callable[..., Any]]] = {
    "Make files": (export, build_engine, sweep, tune),
    "Measure them": (validate, bench, report),
    "Use and look into them": (predict, inspect),
    "What there is": (models, targets, doctor, completion),
}
"""Every verb under the job it is for, as help shows them."""
for job, verbs in JOBS.items():
    for verb in verbs:
        app.command(rich_help_panel=job)(verb)

CommandLineError: Any = typer.BadParameter.__mro__[2]
"""Click's ClickException. Newer Typer carries a click of its own, so that ``import click`` may name another one."""


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
    shells.prepare()
    try:
        result = app(args=arguments, prog_name="edgecvx", standalone_mode=False)
    except CommandLineError as error:
        return _fail(f"{error.format_message()} (see 'edgecvx --help')")
    except (typer.Abort, KeyboardInterrupt):
        return _fail(_STOPPED)
    except EdgecvxError as error:
        return _fail(with_page(error))
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has seen enough. Typer and rich exit with 1 then, which is a failed gate's code.
        return 0
    except OSError as error:
        return _fail(_sentence(error))
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


def _sentence(error: OSError) -> str:
    """An error of the operating system as a sentence."""
    place = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{place}no space left on the disk; nothing half-written was left behind"
    return f"{place}{error.strerror or error}"
