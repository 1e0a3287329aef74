"""The rooms of edgecvx in the order in which they may import each other, and the picture of them, ``docs/house.svg``.

A room is a folder's own files, or a file beside them at the top. ``tests/test_architecture.py`` holds every import to
``ROOMS``, ``docs/architecture.md`` lists them, and the picture is drawn from the imports themselves, so that it shows
what is and not what was meant. After a change: ``python tools/house.py``.
"""

from __future__ import annotations

import ast
import functools
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "edgecvx"
PICTURE = ROOT / "docs" / "house.svg"

ROOMS: Mapping[str, str] = {
    "errors": "what a user is shown, and the exit code",
    "board.device": "what a device says of itself: processor, memory, heat",
    "board": "what a device needs of us: Python 3.9 and numpy",
    "spec": "the values everything speaks in: model, precision, tensor",
    "board.engines": "one opener per runtime, used by everyone",
    "board.runner": "the program that times files on a device",
    "manifest": "what a file is, where it came from, how it was proved",
    "files": "written whole or not at all, held to their hashes",
    "native": "the engine's sources, and how they are built",
    "models": "checkpoints of four layouts into one torch module",
    "data": "pictures, labels, preprocessing, calibration sets",
    "graph": "folds, the canonical graph, and reading and writing it",
    "export": "what all formats share, and the table of them",
    "export.onnx": "pixels as rows, INT8 products; or plain Q/DQ",
    "export.openvino": "IR from OpenVINO's own operations",
    "export.tflite": "a flatbuffer by the schema of ai-edge-litert",
    "export.coreml": "an ML program by coremltools' MIL builder",
    "export.tensorrt": "ONNX by TensorRT's rules, each a check",
    "export.native": "the file of our own engine, read back too",
    "export.web": "that file, with the engine for browsers",
    "runtimes.mil": "a Core ML program computed off a Mac",
    "runtimes": "a file opened, isolated, checked, asked",
    "proof": "how far a file is from its reference",
    "inmemory": "a module in memory, held to its own forward pass",
    "quantize.observe": "one sweep, what it saw, and ranges from it",
    "quantize": "figures, decisions, the plan, its insertion",
    "targets": "per device: format, runtime, INT8 scheme",
    "inspection": "what is in a file or checkpoint, what a machine can do",
    "results": "the values of accuracy and latency, and their schema",
    "web": "the static files of a site, and the folder of one",
    "web.visits": "a page opened in browsers elsewhere, and what they said",
    "cluster": "more machines than one: calls, files, faults",
    "accuracy": "answers of a file against labels and FP32",
    "accuracy.layers": "every inner tensor against FP32",
    "latency.devices": "this machine, ssh, adb, browsers: where files are timed",
    "latency": "files timed in turn, gates, warnings",
    "report": "all results read, joined, and said in words and tables",
    "report.plots": "what is drawn of accuracy and latency",
    "report.sections.accuracy": "one file for each part of the page about answers",
    "report.sections": "one file for each other part of the page",
    "report.forms": "page, Markdown, CSV, terminal",
    "pipeline": "export(): from a checkpoint to proven files",
    "sweep.recipe": "what a sweep is asked for, read with its lines",
    "sweep": "models x targets x data x devices as jobs, stopped and resumed",
    "tune.race": "the best measured in turns, until it is safe to stop",
    "tune.space": "what could be written, and what is known of it before",
    "tune.program": "the exact program: two ways to one front",
    "tune.model": "what each decision costs, in time and in answers",
    "tune.report": "a search in words, and as a page",
    "tune": "which file to ship: the stages of a search",
    "publishing": "a model hub, and runs of a tracking server",
    "cli": "one file per verb: parses, calls, shows",
    "__main__": "python -m edgecvx, and what it does when told to stop",
}
"""Room -> what it is for. A room imports from those above it in this list, never from below."""

DOORS: Mapping[str, frozenset[str]] = {
    "edgecvx": frozenset(
        {
            "edgecvx.pipeline",
            "edgecvx.runtimes.artifact",
            "edgecvx.accuracy.validate",
            "edgecvx.latency.bench",
            "edgecvx.export",
            "edgecvx.sweep",
            "edgecvx.sweep.run",
            "edgecvx.tune",
            "edgecvx.tune.tune",
        }
    ),
    "edgecvx.export": frozenset({"edgecvx.pipeline"}),
}
"""`edgecvx.export(...)`, `load` and the rest are called on packages, which fetch the function when asked."""


# The imports


def module_name(path: Path) -> str:
    """``edgecvx.graph.fold`` for its file, ``edgecvx.graph`` for the folder's ``__init__.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def sources() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str, code: str | None = None) -> set[str]:
    """The modules of this package that a module imports anywhere, also inside functions and for types alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code if code is not None else sources()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise SystemExit(f"{name}: relative import in line {node.lineno}; write the whole name")
            for alias in node.names:  # `from edgecvx.export import fold` is the module, `… import __version__` is not
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in sources() else str(node.module))
    return {i for i in found if i.split(".")[0] == "edgecvx"} - {name}


def room_of(module: str) -> str:
    """The room a module is in: its folder, or itself at the top; the root package is in none."""
    inside = module.removeprefix("edgecvx").removeprefix(".")
    is_folder = module in sources() and sources()[module].name == "__init__.py"
    return inside if is_folder or "." not in inside else inside.rpartition(".")[0]


@functools.cache
def top_imports() -> Mapping[str, frozenset[str]]:
    """The rooms at the top -> those at the top that they import from, a folder taken with all that is in it."""
    found: dict[str, set[str]] = {room: set() for room in ROOMS if "." not in room and not room.startswith("__")}
    for module in sources():
        room = room_of(module).split(".")[0]
        if room in found:
            there = {room_of(i).split(".")[0] for i in imports(module) - DOORS.get(module, frozenset())}
            found[room] |= there & found.keys() - {room}
    return {room: frozenset(there) for room, there in found.items()}


# The picture: rooms in layers, the lowest import nothing; an arrow for each import that no longer way explains

MOST, MARGIN = 980, 16
BOX, GAP, SLOT = 200, 18, 10
TITLE, LINE, PAD, BETWEEN = 20, 14, 8, 34
SWEEPS = 24

STYLE = """
  .box { fill: #ffffff; stroke: #8c959f; stroke-width: 1 }
  .way { fill: none; stroke: #8c959f; stroke-width: 1.2 }
  .head { fill: #8c959f }
  text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .name { font-size: 14px; font-weight: 600 }
  .what { font-size: 11px; fill: #59636e }
  .inner { font-size: 11px; fill: #0550ae }
  @media (prefers-color-scheme: dark) {
    .box { fill: #161b22; stroke: #6e7681 }
    .way { stroke: #6e7681 }
    .head { fill: #6e7681 }
    text { fill: #e6edf3 }
    .what { fill: #9198a1 }
    .inner { fill: #79c0ff }
  }
"""

Place = tuple[str, str]
"""A room, as (room, room), or where an arrow from one room to another passes a layer, as (from, to)."""


def draw() -> str:
    """The picture, as SVG; the same imports give the same bytes."""
    levels = _levels()
    ways = _ways(levels)
    rows = _ordered(_rows(levels, ways), ways)
    x, width = _columns(rows, ways)
    y, heights, height = _heights(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="The rooms of edgecvx; arrows point to what a room imports">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="head" d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    parts += [_arrow([(x[p], y[row], heights[row]) for p, row in _stations(way, levels)]) for way in ways]
    for level, row in enumerate(rows):
        parts += [_box(room, x[room, other], y[level], heights[level]) for room, other in row if room == other]
    return "\n".join([*parts, "</svg>", ""])


def _levels() -> dict[str, int]:
    """How many imports lie below a room, at most."""
    levels: dict[str, int] = {}
    for room in ROOMS:
        if room in top_imports():
            levels[room] = 1 + max((levels[below] for below in top_imports()[room] if below in levels), default=-1)
    return levels


def _ways(levels: Mapping[str, int]) -> list[tuple[str, str]]:
    """The imports that do not follow from others, from the importing room to the imported."""
    below: dict[str, set[str]] = {}
    for room in levels:
        direct = {there for there in top_imports()[room] if there in below}
        below[room] = direct.union(*(below[there] for there in direct))
    return [
        (room, there)
        for room in levels
        for there in sorted(top_imports()[room], key=list(levels).index)
        if there in below and not any(there in below[other] for other in top_imports()[room] if other in below)
    ]


def _stations(way: tuple[str, str], levels: Mapping[str, int]) -> list[tuple[Place, int]]:
    """Where an arrow begins, which layers it passes, and where it ends; with the layer of each."""
    room, there = way
    passed = [(way, level) for level in range(levels[room] - 1, levels[there], -1)]
    return [((room, room), levels[room]), *passed, ((there, there), levels[there])]


def _rows(levels: Mapping[str, int], ways: Sequence[tuple[str, str]]) -> list[list[Place]]:
    rows: list[list[Place]] = [[] for _ in range(max(levels.values()) + 1)]
    for room, level in levels.items():
        rows[level].append((room, room))
    for way in ways:
        for place, level in _stations(way, levels)[1:-1]:
            rows[level].append(place)
    return rows


def _neighbours(rows: Sequence[Sequence[Place]], ways: Sequence[tuple[str, str]]) -> dict[Place, list[Place]]:
    levels = {place[0]: level for level, row in enumerate(rows) for place in row if place[0] == place[1]}
    found: dict[Place, list[Place]] = {place: [] for row in rows for place in row}
    for way in ways:
        for (above, _), (below, _) in itertools.pairwise(_stations(way, levels)):
            found[above].append(below)
            found[below].append(above)
    return found


def _ordered(rows: list[list[Place]], ways: Sequence[tuple[str, str]]) -> list[list[Place]]:
    """Rows in the order with the fewest crossings that sorting by the middle of the neighbours comes by."""
    neighbours = _neighbours(rows, ways)
    best, least = rows, _crossings(rows, neighbours)
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        for level in reversed(range(len(rows) - 1)) if downwards else range(1, len(rows)):
            beside = rows[level + 1 if downwards else level - 1]
            rows = [*rows[:level], _sorted(rows[level], beside, neighbours), *rows[level + 1 :]]
        if (crossings := _crossings(rows, neighbours)) < least:
            best, least = rows, crossings
    return best


def _sorted(row: list[Place], beside: list[Place], neighbours: Mapping[Place, Sequence[Place]]) -> list[Place]:
    """A row by the middle of its neighbours in the row beside it; who has none there stays about where it is."""
    at, own = ({place: i / max(1, len(places) - 1) for i, place in enumerate(places)} for places in (beside, row))

    def middle(place: Place) -> float:
        there = [at[n] for n in neighbours[place] if n in at]
        return sum(there) / len(there) if there else own[place]

    return sorted(row, key=middle)


def _crossings(rows: Sequence[Sequence[Place]], neighbours: Mapping[Place, Sequence[Place]]) -> int:
    count = 0
    for upper, lower in itertools.pairwise(rows):
        at = {place: index for index, place in enumerate(lower)}
        ends = [(i, at[n]) for i, place in enumerate(upper) for n in neighbours[place] if n in at]
        count += sum((a < c and b > d) or (a > c and b < d) for (a, b), (c, d) in itertools.combinations(ends, 2))
    return count


def _columns(rows: Sequence[Sequence[Place]], ways: Sequence[tuple[str, str]]) -> tuple[dict[Place, int], int]:
    """The middle of each place: near its neighbours' middle, and clear of the next in its row; and the whole width."""
    neighbours = _neighbours(rows, ways)
    x = {place: MOST * (index + 1) / (len(row) + 1) for row in rows for index, place in enumerate(row)}
    for sweep in range(2 * SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            wanted = [
                sum(x[n] for n in neighbours[place]) / len(neighbours[place]) if neighbours[place] else x[place]
                for place in row
            ]
            x.update(zip(row, _apart(row, wanted), strict=True))
    left = min(middle - _half(place) for place, middle in x.items()) - MARGIN
    right = max(middle + _half(place) for place, middle in x.items()) + MARGIN
    return {place: round(middle - left) for place, middle in x.items()}, round(right - left)


def _half(place: Place) -> float:
    return (BOX if place[0] == place[1] else SLOT) / 2


def _apart(row: Sequence[Place], wanted: Sequence[float]) -> list[float]:
    """The nearest to what is wanted at which nothing touches and nothing leaves the picture."""
    halves = list(map(_half, row))
    room = [0.0, *itertools.accumulate(a + b + GAP for a, b in itertools.pairwise(halves))]
    low, high = MARGIN + halves[0], MOST - MARGIN - halves[-1] - room[-1]
    offsets = [min(max(w - r, low), high) for w, r in zip(wanted, room, strict=True)]
    rising = list(itertools.accumulate(offsets, max))
    falling = list(reversed(list(itertools.accumulate(reversed(offsets), min))))
    return [(a + b) / 2 + r for a, b, r in zip(rising, falling, room, strict=True)]


def _texts(room: str) -> tuple[list[str], list[str]]:
    """What stands in a box below its name: what the room is for, and the rooms in it."""
    inner = [other.removeprefix(f"{room}.") for other in ROOMS if other.startswith(f"{room}.")]
    return textwrap.wrap(ROOMS[room], 34), textwrap.wrap("  ".join(inner), 32) if inner else []


def _heights(rows: Sequence[Sequence[Place]]) -> tuple[list[int], list[int], int]:
    """The top and the height of each row, the highest first, and of the picture."""
    heights = [
        max(TITLE + PAD + LINE * sum(map(len, _texts(room))) for room, other in row if room == other) for row in rows
    ]
    tops, y = [0] * len(rows), MARGIN
    for level in reversed(range(len(rows))):
        tops[level], y = y, y + heights[level] + BETWEEN
    return tops, heights, y - BETWEEN + MARGIN


def _box(room: str, x: int, y: int, height: int) -> str:
    what, inner = _texts(room)
    lines = [("name", room), *(("what", line) for line in what), *(("inner", line) for line in inner)]
    texts = "".join(
        f'<text class="{kind}" x="{x:g}" y="{y + TITLE - 3 + LINE * i + (2 if i else 0)}" text-anchor="middle">'
        f"{escape(line)}</text>"
        for i, (kind, line) in enumerate(lines)
    )
    box = f'<rect class="box" x="{x - BOX / 2:g}" y="{y}" width="{BOX}" height="{height}" rx="6"/>'
    return f"<g>{box}{texts}</g>"


def _arrow(stations: Sequence[tuple[int, int, int]]) -> str:
    """From the bottom of the upper box, straight through the rows between, to the top of the lower one."""
    x, top, height = stations[0]
    path = f"M{x:g} {top + height}"
    for index, (to, top, height) in enumerate(stations[1:], start=1):
        bend = BETWEEN / 2
        path += f"C{x:g} {top - bend:g} {to:g} {top - bend:g} {to:g} {top}"
        if index < len(stations) - 1:
            path += f"V{top + height}"
        x = to
    return f'<path class="way" d="{path}" marker-end="url(#head)"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")
