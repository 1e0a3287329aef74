"""The house rules that no linter knows: which way imports go, what an import costs, what a tracked file may say."""

from __future__ import annotations

import ast
import functools
import graphlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house import DOORS, ROOMS, imports, room_of, sources
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgecvx.runtimes import RUNTIMES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "edgecvx"

HEAVY = (
    *("torch", "onnx", "onnx_ir", "onnxruntime", "openvino", "nncf", "tensorflow", "ai_edge_litert", "coremltools"),
    *("transformers", "safetensors", "huggingface_hub", "scipy", "sklearn", "pandas"),
)
"""What `import edgecvx` and the command line's start never load."""


def upward(name: str, code: str | None = None) -> set[str]:
    """The imports of a module from rooms that come after its own."""
    allowed = DOORS.get(name, frozenset()) | {"edgecvx"}  # the root holds the version, which everybody may read
    order = ["", *ROOMS]
    for room in {room_of(i) for i in (name, *imports(name, code))} - set(order):
        pytest.fail(f"{room} has no place yet in ROOMS of tools/house.py")
    return {i for i in imports(name, code) - allowed if order.index(room_of(i)) > order.index(room_of(name))}


@pytest.mark.parametrize("name", sources())
def test_imports_go_one_way(name: str) -> None:
    assert upward(name) == set()


def test_an_import_against_the_order_is_noticed() -> None:
    """Also where it hides in a function or behind TYPE_CHECKING, and from a folder into a folder of its own."""
    assert upward("edgecvx.spec", "def f():\n    from edgecvx.models import convnext\n") == {"edgecvx.models.convnext"}
    assert upward("edgecvx.graph.fold", "if TYPE_CHECKING:\n    import edgecvx.pipeline\n") == {"edgecvx.pipeline"}
    assert upward("edgecvx.accuracy.rows", "from edgecvx.accuracy.layers import score") == {
        "edgecvx.accuracy.layers.score"
    }
    assert upward("edgecvx.proof.metrics", "from edgecvx.graph.fold import fold\nimport numpy\n") == set()


def test_the_list_of_rooms_is_whole() -> None:
    """A new folder, or a new file at the top, has to be given its place and its purpose."""
    assert set(ROOMS) == set(map(room_of, sources())) - {""}


def test_every_room_is_on_the_one_page() -> None:
    """With its purpose, in the order in which rooms may import each other."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    listed = [(room.strip(" `"), what.strip()) for room, what in rows if room.strip(" `") in ROOMS]
    assert listed == list(ROOMS.items())


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: imports(name) - DOORS.get(name, frozenset()) - {"edgecvx"} for name in sources()}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


# What an import costs.


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_is_imported_when_asked_for_is_listed_before() -> None:
    """For a notebook's completion; and listing it loads nothing."""
    told = python("import edgecvx, sys; print(set(edgecvx.__all__) <= set(dir(edgecvx)), 'numpy' in sys.modules)")
    assert told == "True False"


@pytest.mark.parametrize("name", ["edgecvx", "edgecvx.cli.main", "edgecvx.targets", "edgecvx.models.variants"])
def test_import_loads_no_framework(name: str) -> None:
    """`edgecvx targets` on a board answers at once, and `edgecvx doctor` where nothing is installed."""
    loaded = set(python(f"import sys, {name}; print(*sys.modules)").split())
    assert not loaded & set(HEAVY)
    assert name != "edgecvx" or "numpy" not in loaded


def test_package_imports_in_a_blink() -> None:
    """Processor time, the least of five: other work on the machine cannot raise it."""
    code = "import time; t = time.process_time(); import edgecvx; print(time.process_time() - t)"
    assert min(float(python(code)) for _ in range(5)) < 0.3


BOARD = (
    *("errors", "spec", "manifest", "data.preprocess", "data.folder", "targets"),
    *("runtimes.artifact", "runtimes.engine"),
    *("latency.bench", "inspection.artifact", "inspection.checkpoint", "inspection.doctor", "report.read"),
    *(f"report.forms.{form}" for form in ("page", "markdown", "csv", "terminal")),
    *(f"cli.{verb}" for verb in ("main", "bench", "report", "predict", "inspect", "listing")),
)
"""What `pip install edgecvx[tflite]` must be enough for."""


@pytest.mark.parametrize("name", BOARD)
def test_a_board_needs_no_framework(name: str) -> None:
    """The module imports where every framework is absent, not only where it is not loaded yet."""
    python(f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r})); import edgecvx.{name}")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["doctor"], 0),
        (["targets"], 0),
        (["models"], 0),
        (["export", "femto", "-t", "tflite"], 2),
        (["validate", "x.tflite"], 2),
        (["validate", "x.tflite", "--per-layer"], 2),
        (["predict", "x.tflite", "x.jpg"], 2),
        (["inspect", "x.tflite"], 2),
        (["inspect", "femto", "--statistics"], 2),
        (["bench", "x.tflite"], 2),
        (["report", "x"], 2),
        (["sweep", "docs/examples/sweep.toml"], 2),
        (["build-engine", "x.tensorrt.onnx"], 2),
    ],
)
def test_every_verb_speaks_in_sentences_where_there_is_no_framework(arguments: list[str], code: int) -> None:
    script = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r})); from edgecvx.cli.main import run; "
    command = [sys.executable, "-c", f"{script}sys.exit(run({arguments!r}))"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("error: ") == (code == 2)


# What code does not do.


@pytest.mark.parametrize("name", sources())
def test_no_assert_guards_the_product(name: str) -> None:
    """`python -O` removes asserts; a check of a user's value is an EdgecvxError."""
    tree = ast.parse(sources()[name].read_text(encoding="utf-8"))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []


# What is tracked.


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Every file of the repository; outside a checkout, every file that would be one."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        tops = ("edgecvx", "tests", "docs", "tools", "benchmarks", "apps")
        paths = [p for top in tops for p in (ROOT / top).rglob("*") if "__pycache__" not in p.parts]
    return tuple(p for p in paths if p.is_file())


PRIVATE = re.compile(
    r"(?<![\w.$}*-])/(?:work|root|opt/pypi|home/\w+|Users/\w+)/"  # a folder of somebody's machine
    r"|\b(?:pypi\.org|pythonhosted\.org|download\.pytorch\.org)\b|--(?:extra-)?index-url|--find-links"  # a registry
)


def private(text: str) -> list[str]:
    """What a text tells about the machine it was written on."""
    return [match.group() for match in PRIVATE.finditer(text)]


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = {}
    for path in tracked():
        if path == Path(__file__):
            continue
        content = path.read_bytes()
        if b"\0" not in content and (what := private(content.decode("utf-8", errors="replace"))):
            found[str(path.relative_to(ROOT))] = what
    assert found == {}


def test_a_private_path_is_noticed() -> None:
    assert private("see /root/notes, then /home/someone/model.pth and 'file:///opt/pypi/simple'") != []
    assert private("pip install --extra-index-url https://x torch") == ["--extra-index-url"]
    assert private("edgecvx/models/root/x, $HOME/work/x, https://example.com/work/x") == []


BESIDE = ("apps", "benchmarks", "docs", "examples", "tools")
"""Folders of the repository that have tests and lie beside the package."""


def test_tests_mirror_the_package() -> None:
    """Whoever reads edgecvx/graph/fold.py finds its tests in tests/graph/."""
    folders = {p.parent.relative_to(ROOT / "tests") for p in (ROOT / "tests").rglob("test_*.py")}
    places = {folder for folder in folders if folder.parts and folder.parts[0] not in BESIDE}
    assert {str(folder) for folder in places if not (PACKAGE / folder).is_dir()} == set()


# What is installed.


@functools.cache
def requirements() -> dict[str, list[Requirement]]:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(line) for line in lines] for extra, lines in extras.items()}


def test_every_direct_requirement_is_pinned_inside_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    pinned = {canonicalize_name(p.name): next(iter(p.specifier)).version for p in pins}
    assert len(pinned) == len(pins)
    assert all(str(p.specifier).startswith("==") for p in pins)
    wanted = [r for many in requirements().values() for r in many if r.name not in ("edgecvx", "edgecvx-demo-weights")]
    for requirement in wanted:
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_a_board_installs_no_framework() -> None:
    heavy = {canonicalize_name(name) for name in (*HEAVY, "onnx-ir", "tensorflow-cpu")} - {"ai-edge-litert"}
    assert not {canonicalize_name(r.name) for extra in ("", "tflite") for r in requirements()[extra]} & heavy


def test_errors_name_extras_that_exist() -> None:
    """`pip install 'edgecvx[coreml]'` is only a hint if there is such an extra."""
    calls = [
        node
        for path in sources().values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "missing_package"
    ]
    named = {call.args[1].value for call in calls if isinstance(call.args[1], ast.Constant)}
    assert named
    assert named | set(RUNTIMES.values()) <= set(requirements())
