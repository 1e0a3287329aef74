"""The commands of the documentation are commands that exist, its Python compiles, its workflows are workflows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from documented import (
    PAGES,
    ROOT,
    check_command,
    check_mentioned,
    commands,
    fences,
    mentioned,
    shell_commands,
)

from edgecvx.cli import main as cli

WORKFLOWS = (
    ROOT / "examples" / "github-actions" / "model.yml",
    ROOT / "docs" / "examples" / "github-actions-bench.yml",
)
VERBS_IN_WORKFLOWS = {"export", "validate", "bench", "report"}
JOB_KEYS = {"runs-on", "timeout-minutes", "env", "steps", "concurrency", "strategy", "needs", "permissions", "if"}
STEP_KEYS = {"name", "uses", "with", "run", "if", "env", "id", "shell", "working-directory"}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_a_page_is_understood(page: Path) -> None:
    for words in shell_commands(page):
        check_command(words)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_says_of_options_is_so(page: Path) -> None:
    for words in mentioned(page):
        check_mentioned(words)


def test_the_pages_are_looked_at() -> None:
    """The README alone has eight commands at its head: a pattern that finds none would let everything pass."""
    assert len(shell_commands(ROOT / "README.md")) >= 8
    assert sum(len(shell_commands(page)) for page in PAGES) > 45


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("edgecvx bench a.tflite --max-latency 1", cli.CommandLineError),
        ("edgecvx export atto --target tflite --precision int4", cli.CommandLineError),
        ("edgecvx export atto --target tflight", AssertionError),
        ("edgecvx quantize atto", KeyError),
    ],
)
def test_a_command_that_is_none_is_noticed(words: str, error: type[BaseException]) -> None:
    with pytest.raises(error):
        check_command(words.split())


def test_an_option_that_is_gone_is_noticed_in_a_sentence_too() -> None:
    check_mentioned(["edgecvx", "validate", "--html"])
    with pytest.raises(AssertionError, match=r"has no --htm$"):
        check_mentioned(["edgecvx", "validate", "--htm"])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_python_of_a_page_compiles(page: Path) -> None:
    for fence in fences(page):
        if fence.language == "python":
            compile(fence.text, name(page), "exec")


def test_the_readmes_python_names_what_there_is() -> None:
    """Each ``edgecvx.name`` is one, each keyword one of its function's."""
    import inspect

    import edgecvx

    signatures = {verb: inspect.signature(getattr(edgecvx, verb)) for verb in ("load", "validate", "benchmark")}
    from edgecvx.pipeline import export
    from edgecvx.sweep.run import sweep
    from edgecvx.tune.tune import tune

    signatures |= {function.__name__: inspect.signature(function) for function in (export, sweep, tune)}
    calls = [
        (verb, keyword)
        for page in PAGES
        for fence in fences(page)
        if fence.language == "python"
        for verb, arguments in re.findall(r"edgecvx\.(\w+)\(((?:[^()]|\([^()]*\))*)\)", fence.text)
        for keyword in re.findall(r"\b(\w+)=", arguments)
    ]
    assert len(calls) > 8
    assert [(verb, keyword) for verb, keyword in calls if keyword not in signatures[verb].parameters] == []


def faults(workflow: dict[Any, Any]) -> list[str]:
    """What GitHub Actions would not take, as far as its keys tell."""
    found = [f"no {key}" for key in ("name", "jobs") if key not in workflow]
    if True not in workflow and "on" not in workflow:  # YAML 1.1 reads `on` as true
        found.append("no on")
    for title, job in workflow.get("jobs", {}).items():
        found += [f"{title}: {key}" for key in set(job) - JOB_KEYS]
        for step in job["steps"]:
            found += [f"{title}: {key}" for key in set(step) - STEP_KEYS]
            if len({"run", "uses"} & set(step)) != 1:
                found.append(f"{title}: a step runs something or uses something: {step}")
    return found


@pytest.mark.parametrize("file", WORKFLOWS, ids=name)
def test_a_workflow_is_one_and_its_commands_exist(file: Path) -> None:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert faults(workflow) == []
    found = [
        words for job in workflow["jobs"].values() for step in job["steps"] for words in commands(step.get("run", ""))
    ]
    assert len(found) >= 5
    assert {words[1] for words in found} <= VERBS_IN_WORKFLOWS
    for words in found:
        check_command(words)


def test_the_workflow_holds_accuracy_and_latency_and_always_reports() -> None:
    text = WORKFLOWS[0].read_text(encoding="utf-8")
    assert all(gate in text for gate in ("--max-drop", "--max-ratio", "if: always()"))
    assert "--max-p50" not in text  # a shared runner's milliseconds mean nothing


def test_a_workflow_with_a_key_that_is_none_is_noticed() -> None:
    step = {"runs": "edgecvx doctor"}
    assert len(faults({"name": "x", "on": "push", "jobs": {"a": {"run-on": "ubuntu-latest", "steps": [step]}}})) == 3
