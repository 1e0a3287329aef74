"""The commands of docs/latency.md and of the GitHub Actions example are commands that exist."""

from __future__ import annotations

from typing import Any

import pytest
from documented import ROOT, check_command, commands, shell_commands

from edgecvx.cli import main as cli
from edgecvx.results.statistics import ENOUGH

DOCS = ROOT / "docs"
EXAMPLE = DOCS / "examples" / "github-actions-bench.yml"


def steps() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_the_examples_commands_are_understood() -> None:
    found = [words for step in steps() for words in commands(step.get("run", ""))]
    assert [words[1] for words in found] == ["export", "export", "bench", "export", "bench"]
    for words in found:
        check_command(words)


def test_the_example_holds_a_ratio_on_a_shared_machine_and_milliseconds_on_a_board() -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["jobs"]
    told = {job["runs-on"] if isinstance(job["runs-on"], str) else job["runs-on"][0]: str(job) for job in jobs.values()}
    assert "--max-ratio" in told["ubuntu-latest"]
    assert "--max-p50" not in told["ubuntu-latest"]
    assert "--max-p50" in told["self-hosted"]


def test_the_documents_commands_are_understood() -> None:
    found = shell_commands(DOCS / "latency.md")
    assert len(found) == 4
    for words in found:
        check_command(words)


def test_a_command_with_an_option_that_is_gone_is_noticed() -> None:
    with pytest.raises(cli.CommandLineError, match="--max-latency"):
        check_command(["edgecvx", "bench", "a.tflite", "--max-latency", "1"])


def test_the_document_says_how_many_samples_a_percentile_needs() -> None:
    text = (DOCS / "latency.md").read_text(encoding="utf-8")
    assert (
        "p90 is given from {} runs on, p95 from {}, p99 from {}".format(*(ENOUGH[q] for q in (0.9, 0.95, 0.99))) in text
    )
