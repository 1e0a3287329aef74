"""What the pages tell to type works: their Python and their cheap commands, on a network of a hundredth of the size.

`make docs-proof` does all of it at full size (`tools/docs_proof`). Here it is held that its tables are exact: a block
of which nothing is said and an exception for a block that is gone are noticed, and so is a page that is wrong.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import all_pages
import docs_given
import docs_table
import pytest
import small_search
from docs_blocks import Piece, all_blocks, blocks, commands, pieces
from docs_given import PRESUPPOSED, Presupposed
from docs_session import Session
from docs_table import Entry, Left, faults, filled, said_of
from documented import ROOT
from waiting import wait_until

import edgecvx
from edgecvx.cli import main as cli
from edgecvx.data import demo
from edgecvx.models import load
from edgecvx.targets import TARGETS
from edgecvx.tune import pictures

if TYPE_CHECKING:
    from small_classifier import Exported

CHEAP = ("edgecvx export ", "edgecvx inspect ", "edgecvx predict ", "python -c ", "mkdir ", "sha256sum ")
"""What takes a moment, where the network is small."""
COSTLY = (" --push ", " --platform ", " --target web", "jetson", "convnextv2_femto.*.tensorrt")
"""But for a hub, for compilers, and for what needs the file that one of them makes."""
SIZE = 64
"""Pixels, in the place of the demo weights' 224, in the names of files too."""
BLOCKS = all_blocks()
TABLES: Mapping[str, Sequence[Entry]] = {
    name: getattr(docs_table, name) for name in ("LEFT", "QUOTED", "WRITTEN", "FILLED", "GIVEN", "EXPECTED")
}


# The tables


def test_of_every_block_it_is_known_what_becomes_of_it() -> None:
    assert faults(BLOCKS, PRESUPPOSED) == []
    assert sum(len(there) for there in BLOCKS.values()) > 90


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```ruby\nputs 1\n```\n", "page.md, block 1 is ruby: neither executed nor in a table"),
        ("```sh\nedgecvx models\n```\n", "page.md: nothing says what it presupposes"),
        ("```python\nprint(1)\n```\n", "page.md: nothing says what it presupposes"),
    ],
)
def test_a_block_of_which_nothing_is_said_is_noticed(text: str, told: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert faults({**BLOCKS, "page.md": blocks(page)}, PRESUPPOSED) == [told]


@pytest.mark.parametrize("name", TABLES)
def test_a_line_of_a_table_that_no_block_fits_any_more_is_noticed(name: str) -> None:
    first = TABLES[name][0]
    dead = dataclasses.replace(first, page="docs/web.md", head="edgecvx quantize")
    tables = {**TABLES, name: (*TABLES[name], dead)}
    assert faults(BLOCKS, PRESUPPOSED, tables) == [f"{name}: no block fits docs/web.md: edgecvx quantize"]


@pytest.mark.parametrize("page", ["docs/web.md", "docs/cluster.md"])
def test_a_page_that_is_gone_is_noticed(page: str) -> None:
    told = faults({name: there for name, there in BLOCKS.items() if name != page}, PRESUPPOSED)
    assert f"{page}: what it presupposes is known, and it has no block" in told


def test_an_exception_for_what_is_executed_is_noticed() -> None:
    """Somebody is expected while it runs, and it is said not to run."""
    more = Left(page="apps/README.md", head="edgecvx-live model-int8.ecvx ", why="")
    (told,) = faults(BLOCKS, PRESUPPOSED, {**TABLES, "LEFT": (*TABLES["LEFT"], more)})
    assert told.endswith("EXPECTED and LEFT contradict each other")


def test_a_quote_is_of_a_test_that_there_is() -> None:
    for quoted in docs_table.QUOTED:
        file, _, name = quoted.test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_a_command_is_as_many_lines_as_bash_asks_for() -> None:
    text = "# first\ncd a\nfor x in 1 2; do\n  ssh $x \"b \\\n   c\" &\ndone\n\necho 'd\ne'  # f\n"
    assert list(commands(text)) == [
        "cd a",
        'for x in 1 2; do\n  ssh $x "b \\\n   c" &\ndone',
        "echo 'd\ne'  # f",
    ]


# The runner


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[all_pages.Row]]:
    """Has a page of a few lines proved."""

    def proved(text: str) -> list[all_pages.Row]:
        file = tmp_path / "page.md"
        file.write_text(text)
        monkeypatch.setattr(all_pages, "PRESUPPOSED", {"page.md": Presupposed()})
        return all_pages.prove("page.md", blocks(file), tmp_path / "work" / "page")

    return proved


def outcomes(rows: Sequence[all_pages.Row]) -> list[str]:
    return [row.outcome for row in rows]


def test_a_page_is_typed_into_one_shell_and_one_python(page: Callable[[str], list[all_pages.Row]]) -> None:
    text = "```sh\nmkdir a\ncd a\nexport B=c\n```\n```python\nx = 1\n```\n```sh\necho $B >d\n```\n"
    assertion = 'from pathlib import Path\nassert Path("a/d").read_text() == "c\\n" and x == 1\n'
    rows = page(f"{text}```python\n{assertion}```\n")
    assert outcomes(rows) == ["executed"] * 6, rows[-1].why


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```sh\nedgecvx quantize atto\n```\n", "No such command 'quantize'"),
        ("```sh\ncat nowhere\n```\n", "exit code 1"),
        ("```python\nimport edgecvx\nedgecvx.exports()\n```\n", "has no attribute 'exports'"),
        ("```python\nimport sys\nsys.exit(0)\n```\n", "SystemExit"),
    ],
)
def test_a_page_that_is_wrong_is_noticed_and_left_there(
    text: str, told: str, page: Callable[[str], list[all_pages.Row]]
) -> None:
    rows = page(f"{text}```sh\ntrue\n```\n")
    assert outcomes(rows) == ["failed"]
    assert told in rows[0].why


def test_what_a_page_says_is_there_afterwards_has_to_be_there(
    page: Callable[[str], list[all_pages.Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (docs_table.Expected(page="page.md", head="mkdir", leaves=("there/a*",)),)
    monkeypatch.setattr(all_pages, "EXPECTED", said)
    assert outcomes(page("```\nmkdir there; touch there/ab\n```\n")) == ["executed"]
    rows = page("```\nmkdir there; touch there/b\n```\n")
    assert rows[0].why == "there is no there/a* afterwards"


def test_what_runs_until_it_is_stopped_is_stopped_and_nothing_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    until_stopped = (
        "try:\n    print('up', flush=True)\n    time.sleep(900)\nexcept KeyboardInterrupt:\n    print('bye')\n"
    )
    (folder / "serve.py").write_text(f"import time\n{until_stopped}")

    def visit(said: Callable[[], str], runs: Callable[[], bool]) -> bool:
        wait_until(lambda: "up" in said(), "the program is up")
        return runs()

    with Session(folder, dict(os.environ)) as session:
        session.type(f"{sys.executable} -c 'import time; time.sleep(900)' & echo $! >pid", limit=600)
        done = session.type(f"{sys.executable} serve.py", limit=600, visit=visit)
    assert done.stopped and done.is_right((0,)) and done.said == "up\nbye\n"
    left = int((folder / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{left}").exists(), "what was started in the background is gone")


# The pages, with a small network


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, small_classifier: Exported) -> Iterator[Path]:
    """The small classifier in the place of the demo weights, and of everybody's; few pictures."""
    with pytest.MonkeyPatch.context() as patch:

        def demo_weights(name: Any, image_size: int | None) -> load.LoadedModel:
            found = load._from_path(small_classifier.checkpoint, SIZE)
            arch = dataclasses.replace(found.spec.arch, name=name.arch.name)
            weights = dataclasses.replace(found.spec.weights, kind="demo")
            spec = dataclasses.replace(found.spec, arch=arch, tag="demo", weights=weights, labels=demo.CLASSES)
            return dataclasses.replace(found, spec=spec)

        patch.setattr(load, "_demo", demo_weights)
        patch.setattr(docs_given, "demo_file", lambda _: small_classifier.checkpoint)
        patch.setattr(docs_given, "MOST", 56)
        patch.setattr(docs_given, "SIDE", SIZE)
        made = tmp_path_factory.mktemp("made")
        patch.setenv("DOCS_PROOF_MADE", str(made))
        docs_given._exported.cache_clear()
        yield made
        docs_given._exported.cache_clear()


@pytest.fixture
def folder(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Goes to a folder with what a page presupposes."""

    def made(page: str) -> None:
        for make in PRESUPPOSED[page].make:
            make(tmp_path)
        all_pages.write_shown((piece for block in BLOCKS[page] for piece in pieces(block)), tmp_path)
        monkeypatch.chdir(tmp_path)

    return made


def executed(page: str) -> list[Piece]:
    """The pieces of a page that `make docs-proof` executes."""
    found = [piece for block in BLOCKS[page] for piece in pieces(block)]
    return [p for p in found if said_of(p, docs_table.LEFT) is None and said_of(p, docs_table.QUOTED) is None]


def is_cheap(piece: Piece) -> bool:
    if not piece.is_command or any(word in piece.text for word in COSTLY):
        return False
    return piece.text.startswith(CHEAP) or " --dry-run" in piece.text


def words(piece: Piece) -> list[str]:
    """A command as its program gets it: patterns are names of files by then."""
    found = shlex.split(filled(piece).replace("-224-", f"-{SIZE}-"), comments=True)
    few = ["--calib-samples", "8"] if {"--int8", "--statistics"} & set(found) else []
    return [*(name for word in found for name in (sorted(glob.glob(word)) if "*" in word else [word])), *few]  # noqa: PTH207


@pytest.mark.parametrize("page", [page for page in BLOCKS if any(map(is_cheap, executed(page)))])
def test_the_cheap_commands_of_a_page_work(
    page: str, folder: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the page; ours in this process, which has the frameworks loaded."""
    folder(page)
    for piece in filter(is_cheap, executed(page)):
        command = words(piece)
        if command[0] == "edgecvx":
            assert cli.run(command[1:]) == 0, f"{piece.head}\n{capsys.readouterr().err}"
        else:
            typed = [sys.executable, *command[1:]] if command[0] == "python" else command
            subprocess.run(typed, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_cheap_command_that_is_wrong_is_noticed(small: Path) -> None:
    """The README's first, with an option that there is none of."""
    first = next(filter(is_cheap, executed("README.md")))
    command = [*words(first), "--calibration"]
    assert command[:3] == ["edgecvx", "export", "femto"]
    assert cli.run(command[1:]) == 2


PYTHON = [page for page in BLOCKS if any(piece.is_python for piece in executed(page))]


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_of_a_page_runs(
    page: str, folder: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As one program; devices are this machine, times are few, and a search's are planted."""
    folder(page)
    if page == "docs/publishing.md":  # what a command of it that pushes leaves
        docs_given.artifact("convnextv2_femto.femto-224-int8.tflite", variant="femto", to="build")(tmp_path)
    small_search.plant(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(pictures, "CALIBRATED_ON", 4)
    monkeypatch.setattr(pictures, "DRAWN", 64)
    monkeypatch.setattr(edgecvx, "tune", quick_tune(edgecvx.tune), raising=False)
    monkeypatch.setattr(edgecvx, "benchmark", quick_benchmark(edgecvx.benchmark), raising=False)
    pushed = pretend_to_push(monkeypatch)
    names: dict[str, Any] = {"__name__": "__main__"}
    ran = run_python(executed(page), names)
    assert ran == sum(piece.is_python for piece in executed(page)) > 0
    if page == "docs/publishing.md":
        assert pushed == [(["build/convnextv2_femto.femto-224-int8.tflite"], "somebody/birds")]


def run_python(page: Sequence[Piece], names: dict[str, Any]) -> int:
    """Runs a page's blocks in one namespace; how many there were."""
    ran = 0
    for piece in page:
        if piece.is_python:
            given = said_of(piece, docs_table.GIVEN)
            before = given.code if isinstance(given, docs_table.Given) else ""
            for code in (before, filled(piece)):
                exec(compile(code.replace("224, 224", f"{SIZE}, {SIZE}"), piece.block.title, "exec"), names)
            ran += 1
    return ran


def quick_tune(real: Callable[..., Any]) -> Callable[..., Any]:
    def tune(models: Any, **how: Any) -> Any:
        """Of the networks and targets the first, and limits that few pictures can decide."""
        assert set(how["target"]) <= set(TARGETS)
        less = {"target": how["target"][0], "max_drop": 60, "sizes": (SIZE,), "budget": small_search.BUDGET}
        return real(models[:1], **{**how, **less})

    return tune


def quick_benchmark(real: Callable[..., Any]) -> Callable[..., Any]:
    def benchmark(artifacts: Any, *, devices: Any = "local", threads: Any = (1,), **how: Any) -> Any:
        few = {"runs": 4, "rounds": 2, "memory": False, "end_to_end": False}
        return real(artifacts, devices="local", threads=threads[:1], **few, **how)

    return benchmark


def pretend_to_push(patch: pytest.MonkeyPatch) -> list[tuple[list[str], str]]:
    """The hub is in tests/publishing; here, that the call is one."""
    from edgecvx.publishing import hub

    real, asked = hub.push, list[tuple[list[str], str]]()

    def push(artifacts: list[str], repository: str, **how: Any) -> Any:
        import inspect
        from types import SimpleNamespace

        inspect.signature(real).bind(artifacts, repository, **how)
        asked.append((artifacts, repository))
        return SimpleNamespace(url=f"https://hub.invalid/{repository}")

    patch.setattr(hub, "push", push)
    return asked


def test_python_that_is_wrong_is_noticed(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's, with an argument that there is none of."""
    wrong = next(p for p in executed("README.md") if p.is_python)
    assert "min_ratio=0.99" in wrong.text
    text = 'import edgecvx\nedgecvx.validate("a.onnx", data="val/", ratio=0.99)\n'
    block = dataclasses.replace(wrong.block, text=text)
    with pytest.raises(TypeError, match="ratio"):
        run_python(list(pieces(block)), {})
