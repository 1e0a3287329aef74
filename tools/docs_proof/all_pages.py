"""Every block of the documentation executed as it stands, page by page: ``all_pages.py [PAGE…]``.

Each page gets a fresh folder with what it presupposes (``docs_given.py``), one shell and one Python, and its blocks in
their order. What is not executed, what is filled in and what ends otherwise than in 0 is in ``docs_table.py`` and
nowhere else. A page that was done with these blocks is not done again; ``build/docs-proof/table.md`` says all of it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in (".", "apps", "tests/support", "tests/samples", "tools/docs")]

from docs_blocks import Block, Piece, all_blocks, pieces  # noqa: E402 (after the folders it is in)
from docs_given import PRESUPPOSED  # noqa: E402
from docs_session import Done, Session  # noqa: E402
from docs_stand_ins import OPENED, STAND_INS, VISITS, missing  # noqa: E402
from docs_table import (  # noqa: E402
    EXPECTED,
    GIVEN,
    LEFT,
    ORDER,
    QUOTED,
    WRITTEN,
    Expected,
    Given,
    Left,
    Quoted,
    Written,
    faults,
    filled,
    is_shown,
    said_of,
)
from waiting import hand_on_signals  # noqa: E402

LONGEST = 5400.0
"""Seconds after which a piece is said to hang: a search alone may take an hour."""
_OFF = ("HF_TOKEN", "HF_ENDPOINT", "DASK_CONFIG", "EDGECVX_PROCESSOR", "LD_PRELOAD", "VIRTUAL_ENV", "MAKEFLAGS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one piece."""

    block: int
    head: str
    outcome: str
    """``executed``, ``left``, ``quoted`` or ``failed``."""
    seconds: float = 0.0
    why: str = ""


class FailedError(Exception):
    """A piece did not do what the page says."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="all of them where none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs-proof")
    parser.add_argument("--again", action="store_true", help="also what is done already")
    asked = parser.parse_args(arguments)
    hand_on_signals()
    found = all_blocks()
    if wrong := faults(found, PRESUPPOSED):
        raise SystemExit("\n".join(wrong))
    if unknown := [page for page in asked.pages if page not in found]:
        parser.error(f"{unknown[0]} has no blocks; there are {', '.join(found)}")
    out: Path = asked.out.resolve()
    (out / "pages").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="made-", dir=out) as made:
        os.environ["DOCS_PROOF_MADE"] = made
        failed = _prove_all(asked.pages or found, found, out, again=asked.again)
    print((out / "table.md").read_text())
    if failed:
        raise SystemExit(f"not as printed: {', '.join(failed)}")


def _prove_all(pages: Iterable[str], found: Mapping[str, Sequence[Block]], out: Path, *, again: bool) -> list[str]:
    """Proves what is not proved yet, and writes the table after each page; the pages that are not as printed."""
    failed = []
    for page in pages:
        record = out / "pages" / f"{page.replace('/', '-')}.json"
        mark = _mark(found[page])
        if not again and _is_done(record, mark):
            continue
        print(f"== {page}", flush=True)
        rows = prove(page, found[page], out / "work" / page.replace("/", "-"))
        if any(row.outcome == "failed" for row in rows):
            failed.append(page)
        record.write_text(json.dumps({"mark": mark, "rows": [asdict(row) for row in rows]}, indent=1))
        (out / "table.md").write_text(table(found, out / "pages"))
    (out / "table.md").write_text(table(found, out / "pages"))
    return failed


def prove(page: str, there: Sequence[Block], folder: Path) -> list[Row]:
    """Executes a page in a folder; the rows of its pieces, of which the last may be the one that failed."""
    rows: list[Row] = []
    by_number = {block.number: block for block in there}
    first = ORDER.get(page, ())
    ordered = [by_number[number] for number in first] + [block for block in there if block.number not in first]
    todo = [piece for block in ordered for piece in pieces(block)]
    try:
        with _opened(page, folder, todo) as session:
            for piece in todo:
                rows.append(_row(piece, session, folder))
                print(f"{rows[-1].outcome:8} {rows[-1].seconds:6.1f} s  {piece.head}", flush=True)
                if rows[-1].outcome == "failed":
                    print(rows[-1].why, flush=True)
                    break
    except (FailedError, AssertionError) as error:
        print(error, flush=True)
        rows.append(Row(block=0, head=page, outcome="failed", why=str(error)))
    return rows


@contextlib.contextmanager
def _opened(page: str, folder: Path, todo: Iterable[Piece]) -> Iterator[Session | None]:
    """A page's folder as it is before the first command, and whoever stands in; nothing where nothing is executed."""
    if page not in PRESUPPOSED:
        yield None
        return
    asked = PRESUPPOSED[page]
    if lacking := list(filter(None, map(missing, asked.needs))):
        raise FailedError("; ".join(lacking))
    beside = folder.with_name(f"{folder.name}.beside")
    for place in (folder, beside):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    (folder / "home" / "bin").mkdir(parents=True)
    for make in asked.make:
        make(folder)
    write_shown(todo, folder)
    environment = _environment(folder)
    with contextlib.ExitStack() as stack:
        for need in asked.needs:
            if need in STAND_INS:
                try:
                    more = dict(stack.enter_context(STAND_INS[need](beside)))
                except OSError as error:
                    raise FailedError(f"{need}: {error}") from error
                environment["PATH"] = os.pathsep.join(filter(None, (more.pop("PATH", ""), environment["PATH"])))
                environment |= more
        if "board" in asked.needs:  # a key of the reader's own, for ssh-copy-id
            shutil.copytree(beside / "board", folder / "home" / ".ssh", ignore=lambda _, names: _but_keys(names))
            (folder / "home" / ".ssh" / "user").rename(folder / "home" / ".ssh" / "id_ed25519")
            (folder / "home" / ".ssh" / "user.pub").rename(folder / "home" / ".ssh" / "id_ed25519.pub")
        with Session(folder, environment) as session:
            yield session
    shutil.rmtree(beside, ignore_errors=True)


def write_shown(todo: Iterable[Piece], folder: Path) -> None:
    """Makes the files that a reader makes of what a page shows."""
    for piece in todo:
        if isinstance(written := said_of(piece, WRITTEN), Written):
            (folder / written.file).write_text(piece.text)


def _but_keys(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in ("user", "user.pub")]


def _environment(folder: Path) -> dict[str, str]:
    """A reader's, on a machine that knows nothing but edgecvx: no network, no settings of whoever runs it."""
    home, user = folder / "home", Path(os.path.expanduser("~"))  # noqa: PTH111 (HOME as it is, also where it is none)
    paths = [str(home / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    kept = {name: value for name, value in os.environ.items() if name not in _OFF}
    return kept | {
        "HOME": str(home),
        "PATH": os.pathsep.join(paths),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "apps"))),
        "EDGECVX_CACHE": str(folder.parents[1] / "cache"),  # by content: engines are compiled once for all pages
        "EDGECVX_LEASES": str(folder / "home"),
        "HF_HOME": str(home / "hub"),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "COLUMNS": "120",
        # What zig builds of a C library takes minutes, and a toolchain of Rust is not here twice.
        "ZIG_GLOBAL_CACHE_DIR": os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(user / ".cache" / "zig")),
        "CARGO_HOME": os.environ.get("CARGO_HOME", str(user / ".cargo")),
        "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(user / ".rustup")),
    }


def _row(piece: Piece, session: Session | None, folder: Path) -> Row:
    """Executes one piece, or says why not."""
    number, head = piece.block.number, piece.head
    if isinstance(left := said_of(piece, LEFT), Left):
        return Row(block=number, head=head, outcome="left", why=left.why)
    if isinstance(quoted := said_of(piece, QUOTED), Quoted):
        return Row(block=number, head=head, outcome="quoted", why=quoted.test)
    assert session is not None, "a page of which something is executed presupposes something"
    began = time.monotonic()
    try:
        code = _execute(piece, session, folder)
    except (FailedError, AssertionError) as error:
        return Row(block=number, head=head, outcome="failed", seconds=time.monotonic() - began, why=str(error))
    return Row(block=number, head=head, outcome="executed", seconds=time.monotonic() - began, why=code)


def _execute(piece: Piece, session: Session, folder: Path) -> str:
    """Does with a piece what a reader does; what is to be said of it, other than that it ended in 0."""
    if isinstance(written := said_of(piece, WRITTEN), Written):
        if written.by:
            _check(session.type(written.by, limit=LONGEST), (0,))
        if written.opened:
            OPENED[written.opened](folder)
        return f"as {written.file}"
    if piece.is_python:
        if isinstance(given := said_of(piece, GIVEN), Given):
            _check(session.execute(given.code, limit=LONGEST), (0,))
        _check(session.execute(filled(piece), limit=LONGEST), (0,))
        return ""
    expected = said_of(piece, EXPECTED)
    if not isinstance(expected, Expected):
        _check(session.type(filled(piece), limit=LONGEST), (0,))
        return ""
    visit = VISITS.get(expected.visited)
    visited = None if visit is None else lambda said, runs: visit(folder, said, runs)
    done = session.type(filled(piece), limit=LONGEST, visit=visited)
    _check(done, tuple(expected.codes))
    for pattern in expected.leaves:
        if not list(folder.glob(pattern)):
            raise FailedError(f"there is no {pattern} afterwards")
    ended = [f"exit code {done.code}: {expected.why}"] if done.code and not done.stopped else []
    return "; ".join([*ended, *(["visited: " + expected.visited] if visit else [])])


def _check(done: Done, codes: tuple[int, ...]) -> None:
    if not done.is_right(codes):
        raise FailedError(f"exit code {done.code}:\n{done.said[-3000:]}")


def _mark(there: Sequence[Block]) -> str:
    """Of a page's blocks: what was done with others counts no more."""
    return hashlib.sha256(repr([(block.language, block.text) for block in there]).encode()).hexdigest()


def _is_done(record: Path, mark: str) -> bool:
    if not record.is_file():
        return False
    known = json.loads(record.read_text())
    return known["mark"] == mark and all(row["outcome"] != "failed" for row in known["rows"])


def table(found: Mapping[str, Sequence[Block]], records: Path) -> str:
    """What became of every page, as Markdown."""
    lines = [
        "| page | blocks | executed | shown | not executed, or not to 0, and why | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for page, there in found.items():
        record = records / f"{page.replace('/', '-')}.json"
        if not record.is_file():
            lines.append(f"| {page} | {len(there)} | not tried | | | |")
            continue
        rows = [Row(**row) for row in json.loads(record.read_text())["rows"]]
        told: dict[str, list[str]] = {}
        for row in rows:
            if row.outcome != "executed" or row.why.startswith("exit code"):
                told.setdefault(f"{row.outcome}: {row.why.splitlines()[0] if row.why else ''}", []).append(row.head)
        notes = "; ".join(f"{', '.join(f'`{_cell(h)}`' for h in heads)} ({_cell(why)})" for why, heads in told.items())
        executed = sum(row.outcome == "executed" for row in rows)
        shown = sum(is_shown(block) for block in there)
        seconds = sum(row.seconds for row in rows)
        lines.append(f"| {page} | {len(there)} | {executed} of {len(rows)} | {shown} | {notes} | {seconds:.0f} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")[:90]


if __name__ == "__main__":
    main()
