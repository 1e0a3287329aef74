"""``edgecvx predict``: what an artifact sees in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from edgecvx.cli import show
from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.spec import to_json


def predict(
    artifact: show.ArtifactPath,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Picture files.")],
    top: Annotated[int, typer.Option(metavar="N", min=1, help="How many classes to show.")] = 5,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads the runtime may use.")] = None,
    as_json: show.AsJson = False,
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
                text = str(error) if str(image) in str(error) else f"{image}: {error}"
                show.error(text)
                answers.append({"image": str(image), "error": text})
                continue
            answers.append({"image": str(image), "classes": to_json(ranked)})
    if as_json:
        show.json_object({"artifact": str(artifact), "answers": answers})
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
