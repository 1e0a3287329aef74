"""The page about the command line says what the command line takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import typer.main
from command_line import PAGE, given, page, verbs

from edgecvx.cli import main as cli
from edgecvx.spec import Precision


def test_the_page_is_what_the_definitions_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python tools/docs/command_line.py writes it anew"


def test_every_verb_and_every_option_that_the_parser_knows_is_on_it() -> None:
    group = typer.main.get_command(cli.app)
    commands = group.commands  # type: ignore[attr-defined]
    assert list(verbs()) == list(commands)
    for name, verb in verbs().items():
        known = {flag for p in commands[name].params for flag in (*p.opts, *p.secondary_opts) if flag.startswith("-")}
        assert {flag for one in given(verb) for flag in one.flags} == known - {"--help", "-h"}, name


def test_a_definition_is_read_as_typer_reads_it() -> None:
    def verb(
        files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files.")],
        precision: Annotated[Precision | None, typer.Option("--precision", "-p", help="a|b")] = None,
        memory: Annotated[bool, typer.Option("--memory/--no-memory")] = True,
        batch_size: Annotated[int, typer.Option(metavar="N")] = 0,
    ) -> None: ...

    files, precision, memory, batch = given(verb)
    assert (files.flags, files.shown) == ((), "FILE…")
    assert precision.shown == "[--precision fp32|fp16|int8|int8-dynamic]"
    assert (memory.shown, memory.default) == ("[--no-memory]", "--memory")
    assert (batch.flags, batch.shown, batch.default) == (("--batch-size",), "[--batch-size N]", "0")
