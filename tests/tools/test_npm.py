"""The JavaScript package: what is in it, and that nothing of the page is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import npm
import pytest

import edgecvx
from edgecvx.web.files import site_files

NEEDED = {"edgecvx.js", "engine.js", "worker.js", "thread.js", "pictures.js", "proof.js"}
PACKAGE = json.loads((npm.ROOT / "edgecvx" / "web" / "npm" / "package.json").read_text())

pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None or not npm.COMPILER.exists(),
    reason="no npm, or no node_modules: make lint-js fetches them",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("npm") / "package"
    npm.write(folder)
    return folder


def test_it_holds_the_engine_and_what_asks_it_their_types_and_the_licence_and_nothing_else(folder: Path) -> None:
    command = ["npm", "pack", "--dry-run", "--json", "--offline"]
    packed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    names = {file["path"] for file in json.loads(packed.stdout)[0]["files"]}
    modules = {name for name in names if name.endswith(".js")}
    assert names == {*modules, *(f"{name[:-3]}.d.ts" for name in modules), "LICENSE", "package.json"}
    assert modules >= NEEDED and not modules & {"app.js", "page.js", "camera.js", "sw.js"}
    for name in modules:
        assert (folder / name).read_bytes() == site_files()[name], "with its comments, which say its types"


def test_every_module_that_is_named_is_there(folder: Path) -> None:
    assert PACKAGE["version"] == edgecvx.__version__
    for target in PACKAGE["exports"].values():
        assert all((folder / path).is_file() for path in target.values())
    assert PACKAGE["private"] is True, "it is not published"


def test_a_project_in_typescript_knows_what_is_returned(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "edgecvx").symlink_to(folder)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for name, kind in (("right", "string"), ("wrong", "number")):
        (tmp_path / f"{name}.ts").write_text(
            'import { load } from "edgecvx";\n'
            'const { top } = await (await load("site/")).classify(new Blob([]));\n'
            f"export const label: {kind} = top[0].label;\n"
        )
    words = ["--ignoreConfig", "--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"]
    command = ["node", str(npm.COMPILER), *words, "--lib", "es2022,dom", "right.ts", "wrong.ts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    assert [line.partition(": ")[0] for line in said] == ["wrong.ts(3,14)"], done.stdout
