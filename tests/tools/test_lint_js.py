"""The pages' JavaScript as ESLint and TypeScript see it: what ``make lint-js`` does, where its tools are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "node_modules" / ".bin"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (TOOLS / "tsc").exists(), reason="no node_modules: make lint-js fetches them"
)


def run(tool: str, *words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = ["node", str(TOOLS / tool), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_pages_are_as_their_types_say() -> None:
    for project in ("tsconfig.json", "tsconfig.service-worker.json"):
        done = run("tsc", "--project", project)
        assert (done.returncode, done.stdout) == (0, ""), project


def test_the_pages_have_nothing_dead_or_dangerous_in_them() -> None:
    done = run("eslint", "--max-warnings", "0", "edgecvx/web/site", "apps/edgecvx_live/page", "examples/web")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("document.body.innerHTML = label;", "no-restricted-properties"),
        ("eval(label);", "no-eval"),
        ("if (label == 1) document.title = label;", "eqeqeq"),
    ],
)
def test_a_line_that_would_be_dangerous_is_noticed(tmp_path: Path, line: str, rule: str) -> None:
    shutil.copy(ROOT / "eslint.config.js", tmp_path)
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "page.js").write_text(f"/** @param {{string}} label */\nexport function show(label) {{\n  {line}\n}}\n")
    done = run("eslint", "page.js", folder=tmp_path)
    assert done.returncode == 1 and rule in done.stdout


def test_a_value_that_may_be_missing_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "page.js").write_text('document.querySelector("p").textContent = "x";\n')
    (tmp_path / "tsconfig.json").write_text(f'{{"extends": "{ROOT}/tsconfig.json", "include": ["page.js"]}}')
    done = run("tsc", "--project", ".", folder=tmp_path)
    assert done.returncode != 0 and "is possibly 'null'" in done.stdout
