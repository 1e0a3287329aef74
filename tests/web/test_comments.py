"""Static files without their comments: the same program, and no line of it lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgecvx.web.comments import without_comments
from edgecvx.web.files import site_files

ROOT = Path(__file__).parents[2]
COMPILER = ROOT / "node_modules" / ".bin" / "tsc"
OPTIONS = ("--ignoreConfig", "--allowJs", "--noCheck", "--noResolve", "--removeComments", "--target", "esnext")


def programs(texts: dict[str, str], folder: Path) -> dict[str, str]:
    """What a compiler writes of scripts, in its own layout, without any comment."""
    if not COMPILER.exists():
        pytest.skip("no node_modules: make lint-js fetches them")
    for name, text in texts.items():
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / name).write_text(text)
    command = ["node", str(COMPILER), *OPTIONS, "--rootDir", "in", "--outDir", "out", *(f"in/{name}" for name in texts)]
    subprocess.run(command, cwd=folder, check=True)
    return {name: (folder / "out" / name).read_text() for name in texts}


def bare(text: str, name: str = "a.js") -> str:
    return without_comments(name, text.encode()).decode()


def test_lines_that_are_comments_go_and_code_stays() -> None:
    text = "// What for.\n\n/**\n * @param {string} a\n */\nexport const f = (a) => /** @type {any} */ (a); // why\n"
    assert bare(text) == "export const f = (a) => (a); // why\n"


def test_what_looks_like_a_comment_in_a_text_is_text() -> None:
    text = "const a = `\n// one\n  /* two */\n\n`;\nconst b = 'https://x/*'; // three\n"
    assert bare(text) == text


def test_a_style_loses_its_comments_and_a_page_nothing() -> None:
    assert bare("/* --- the head --- */\na { color: red }\n", "a.css") == "a { color: red }\n"
    page = "<!-- why -->\n// text\n"
    assert bare(page, "index.html") == page


def test_a_line_loses_its_indent_and_nothing_loses_its_space() -> None:
    assert bare("if (a) {\n\n  f(b, 'c  d');\n}\n") == "if (a) {\nf(b, 'c  d');\n}\n"
    assert bare("a {\n  color: red\n}\n", "a.css") == "a {\ncolor: red\n}\n"


def test_every_script_of_the_site_is_the_same_program_without(tmp_path: Path) -> None:
    scripts = {name: content.decode() for name, content in site_files().items() if name.endswith(".js")}
    without = {name: bare(text) for name, text in scripts.items()}
    assert programs(scripts, tmp_path / "with") == programs(without, tmp_path / "without")
    assert all("@param" not in text for text in without.values())


def test_a_line_that_went_with_a_comment_is_noticed(tmp_path: Path) -> None:
    texts = {"a.js": "// Twice.\nlet a = 1;\na *= 2;\n"}
    wrong = {"a.js": bare(texts["a.js"]).replace("a *= 2;\n", "")}
    assert programs(texts, tmp_path / "with") != programs(wrong, tmp_path / "without")
