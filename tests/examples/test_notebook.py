"""The notebook from fine-tuning to a board runs as it stands: by nbclient where it is installed, else cell by cell."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from documented import ROOT

NOTEBOOK = ROOT / "examples" / "finetune-to-board.ipynb"
CELL_BY_CELL = """
import json, sys
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(sys.stdin)):
    exec(compile(cell, f"cell {number}", "exec"), names)
"""
"""In an interpreter of its own, as a kernel would be."""


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return found


def sources() -> list[str]:
    return ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"]


def run(code: list[str], folder: Path) -> str:
    """What the cells print."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CELL_BY_CELL],
        input=json.dumps(code),
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def run_in_a_kernel(folder: Path) -> str:
    import nbclient  # type: ignore[import-not-found]
    import nbformat  # type: ignore[import-not-found]

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    os.environ["PYTHONPATH"] = str(ROOT)
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()
    return "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", ()))


def test_the_notebook_leads_from_weights_to_a_file_that_holds(tmp_path: Path) -> None:
    for package in ("torch", "safetensors", "ai_edge_litert"):
        pytest.importorskip(package)
    has_kernel = all(map(importlib.util.find_spec, ("nbclient", "nbformat", "ipykernel")))
    printed = run_in_a_kernel(tmp_path) if has_kernel else run(sources(), tmp_path)
    assert "build/convnextv2_atto.colours-64-int8.tflite" in printed
    assert re.search(r"^pass: .* over 72 pictures", printed, re.MULTILINE)
    assert re.search(r"^\[\('(blue|green|red|yellow)', [01]\.", printed, re.MULTILINE)
    assert printed.splitlines()[-1].startswith("convnextv2_atto.colours-64-int8.tflite (Percentile(q=0.5")
    assert (tmp_path / "build" / "convnextv2_atto.colours-64-int8.tflite.edgecvx.json").is_file()


def test_a_cell_that_fails_is_noticed(tmp_path: Path) -> None:
    assert run(["x = 1", "print(x)"], tmp_path) == "1\n"
    with pytest.raises(AssertionError, match="cell 1"):
        run(["x = 1", "print(y)"], tmp_path)


def test_the_notebook_is_kept_without_what_it_printed() -> None:
    """And is what Jupyter reads: format 4.5, every cell with a name of its own."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    names = [cell["id"] for cell in cells()]
    assert len(names) == len(set(names))
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells() if "outputs" in cell)
