"""The commands of docs/latency.md and of the GitHub Actions example are commands that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from edgecvx.cli import main as cli
from edgecvx.latency.request import read_choice
from edgecvx.results.statistics import ENOUGH
from edgecvx.targets import TARGETS

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLE = DOCS / "examples" / "github-actions-bench.yml"


def commands(text: str) -> Iterator[list[str]]:
    """Every ``edgecvx …`` that stands at the beginning of a line."""
    for line in text.splitlines():
        if line.strip().startswith("edgecvx "):
            yield shlex.split(line.split(" # ")[0])


def check(words: list[str]) -> None:
    """Lets the command line parse a command without carrying it out."""
    group: Any = typer.main.get_command(cli.app)
    command = group.commands[words[1]]
    with command.make_context(words[1], list(words[2:])) as context:
        options = context.params
    for text in options.get("runtime") or ():
        read_choice(text)
    assert set((options.get("target") or "tflite").split(",")) <= set(TARGETS)


def steps() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_the_examples_commands_are_understood() -> None:
    found = [words for step in steps() for words in commands(step.get("run", ""))]
    assert [words[1] for words in found] == ["export", "export", "bench", "export", "bench"]
    for words in found:
        check(words)


def test_the_example_holds_a_ratio_on_a_shared_machine_and_milliseconds_on_a_board() -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["jobs"]
    told = {job["runs-on"] if isinstance(job["runs-on"], str) else job["runs-on"][0]: str(job) for job in jobs.values()}
    assert "--max-ratio" in told["ubuntu-latest"]
    assert "--max-p50" not in told["ubuntu-latest"]
    assert "--max-p50" in told["self-hosted"]


def test_the_documents_commands_are_understood() -> None:
    text = (DOCS / "latency.md").read_text(encoding="utf-8")
    found = list(commands("\n".join(re.findall(r"```\n(.*?)```", text, flags=re.DOTALL))))
    assert len(found) == 4
    for words in found:
        check(words)


def test_a_command_with_an_option_that_is_gone_is_noticed() -> None:
    with pytest.raises(cli.CommandLineError, match="--max-latency"):
        check(["edgecvx", "bench", "a.tflite", "--max-latency", "1"])


def test_the_document_says_how_many_samples_a_percentile_needs() -> None:
    text = (DOCS / "latency.md").read_text(encoding="utf-8")
    assert (
        "p90 is given from {} runs on, p95 from {}, p99 from {}".format(*(ENOUGH[q] for q in (0.9, 0.95, 0.99))) in text
    )
