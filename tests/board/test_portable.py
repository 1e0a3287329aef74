"""What travels needs nothing but Python 3.9, its library, numpy, Pillow and a runtime."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from edgecvx import board
from edgecvx.board.device.processors import Processor
from edgecvx.board.proof import Proof
from edgecvx.board.runner.order import Order
from edgecvx.latency.devices.job import runner_bytes

SOURCES = sorted(Path(board.__file__).parent.rglob("*.py"))
ALLOWED = {"numpy", "PIL"}
"""Beyond the standard library; runtimes are imported by name, where an order asks for one."""


def modules(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_every_file_is_python_3_9_and_imports_nothing_else(path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    tree = ast.parse(code, feature_version=(3, 9))
    imported = modules(tree)
    own = {name for name in imported if name.split(".")[0] == "edgecvx"}
    assert all(name == "edgecvx" or name.startswith("edgecvx.board") for name in own)
    rest = {name.split(".")[0] for name in imported - own}
    assert rest <= ALLOWED | set(sys.stdlib_module_names)
    # Of Python 3.10 and no matter of grammar:
    assert not re.search(r"slots=True|kw_only=True|strict=True\)|removeprefix\(.*match |int\.bit_count", code)


def test_the_file_that_starts_it_is_read_by_any_python() -> None:
    """No annotations, no f-strings, no parentheses that only Python 3 knows."""
    (main,) = [path for path in SOURCES if path.name == "__main__.py"]
    code = main.read_text(encoding="utf-8")
    tree = ast.parse(code)
    modern = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef)
    assert not [node for node in ast.walk(tree) if isinstance(node, modern)]
    assert "from __future__" not in code  # annotations came with Python 3.7
    assert code.isascii()  # Python 2 wants to be told of anything else


@pytest.mark.parametrize("version", ["python2.7", "python3.6", "python3.8"])
@pytest.mark.parametrize("verb", ["check", "measure"])
def test_a_python_that_is_too_old_says_so(version: str, verb: str, tmp_path: Path) -> None:
    found = shutil.which(version)
    if found is None or subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"{version} is not here")
    (tmp_path / "runner.pyz").write_bytes(runner_bytes())
    done = subprocess.run(
        [found, str(tmp_path / "runner.pyz"), verb, "ORDER.json"], capture_output=True, text=True, check=False
    )
    answer = json.loads(done.stdout)
    if verb == "check":
        assert answer["ok"] is False
        assert answer["missing"][0]["what"] == "Python 3.9 or newer"
    else:
        assert answer["event"] == "error"
        assert "is too old for the runner, which needs 3.9 or newer" in answer["sentence"]


def test_what_an_order_is_read_into_says_no_type_of_python_3_10() -> None:
    """The reader evaluates annotations, and ``X | None`` is none on Python 3.9."""
    waiting: list[Any] = [Order]
    seen = set()
    while waiting:
        cls = waiting.pop()
        if dataclasses.is_dataclass(cls) and cls not in seen:
            seen.add(cls)
            assert not [f.name for f in dataclasses.fields(cls) if "|" in str(f.type)], cls
            waiting += get_type_hints(cls).values()
        waiting += get_args(cls)
    assert {Proof, Processor} < seen
