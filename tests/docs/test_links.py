"""Every link of the documentation leads somewhere, every page has its place in the site's nav."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from documented import PAGES, ROOT
from gather import SETTINGS, named, page_of, sources
from markdown_links import anchors, links, slug

tomllib = pytest.importorskip("tomllib" if os.sys.version_info >= (3, 11) else "tomli")  # type: ignore[attr-defined]


def nav() -> list[str]:
    settings = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))
    return list(named(settings["project"]["nav"]))


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    pages = {*PAGES, *(path for path in sources() if path.suffix == ".md")}
    found = [link for page in sorted(pages) for link in links(page)]
    assert len(found) > 150
    assert [link.fault for link in found if link.fault] == []


def test_a_link_to_nothing_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    code = "```\n[d](none.md)\n```"
    page.write_text(f'# A `b` c?\n\n[a](#a-b-c) [b](#a-b) [c](other.md)\n\n{code}\n\n<img src="e.png">')
    told = [link.fault.split(": ")[1] for link in links(page) if link.fault]
    assert told == ["(#a-b) leads to no heading of page.md", "(other.md) leads to no file", "(e.png) leads to no file"]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("What is not, and why: `--estimator`", "what-is-not-and-why---estimator"),
        ("Threads need isolation", "threads-need-isolation"),
        ("[Linked](there.md) and snake_case", "linked-and-snake_case"),
    ],
)
def test_anchors_are_those_of_code_hosts(heading: str, anchor: str) -> None:
    assert slug(heading) == anchor


def test_equal_headings_are_numbered(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("## INT8\n\n## INT8\n")
    assert anchors(page) == {"int8", "int8-1"}


def test_every_page_of_the_documentation_is_in_the_nav_once() -> None:
    listed = nav()
    assert len(listed) == len(set(listed))
    pages = {page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").glob("*.md")}
    assert pages - set(listed) == set()


def test_every_page_of_the_nav_is_one_that_links_lead_to() -> None:
    """Gathered are the pages that are reached from README.md; a notebook is gathered as a page."""
    reached = {path.relative_to(ROOT).as_posix().replace(".ipynb", ".md") for path in sources()}
    assert [page for page in nav() if page not in reached] == []


def test_a_notebook_is_gathered_as_a_page() -> None:
    text = page_of(ROOT / "examples" / "finetune-to-board.ipynb")
    assert text.startswith("# From fine-tuning to a board\n")
    assert "```python\nfrom pathlib import Path\n" in text
