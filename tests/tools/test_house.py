"""The picture of the house is what the imports say now."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import pytest
from house import PICTURE, ROOMS, draw, room_of, sources, top_imports

SVG = "{http://www.w3.org/2000/svg}"
WIDE = 7.2
"""Pixels of the widest letters on average, at 11 px."""


def boxes() -> Iterator[tuple[str, tuple[float, float, float, float], ElementTree.Element]]:
    """The name of each room in the picture, where its box begins and ends, and what is in it."""
    for group in ElementTree.fromstring(draw()).iter(f"{SVG}g"):
        rect, name = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert rect is not None and name is not None and name.text is not None
        x, y, width, height = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
        yield name.text, (x, y, x + width, y + height), group


def test_the_picture_is_what_would_be_drawn_now() -> None:
    assert PICTURE.read_text(encoding="utf-8") == draw(), "run: python tools/house.py"


def test_every_room_is_in_the_picture() -> None:
    assert sorted(name for name, _, _ in boxes()) == sorted(top_imports())
    text = "".join(ElementTree.fromstring(draw()).itertext())
    assert all(room.rpartition(".")[2] in text for room in ROOMS if not room.startswith("__"))


def test_nothing_overlaps_and_nothing_is_cut_off() -> None:
    root = ElementTree.fromstring(draw())
    found = list(boxes())
    for i, (name, (left, top, right, bottom), group) in enumerate(found):
        assert left >= 0 and top >= 0
        assert right <= float(root.attrib["width"]) and bottom <= float(root.attrib["height"]), name
        for text in group.iter(f"{SVG}text"):
            assert len(text.text or "") * WIDE * 0.8 <= right - left, text.text
            assert top < float(text.attrib["y"]) < bottom, text.text
        for other, (x0, y0, x1, y1), _ in found[i + 1 :]:
            assert right < x0 or x1 < left or bottom < y0 or y1 < top, (name, other)


def test_arrows_point_down() -> None:
    tops = {name: top for name, (_, top, _, _), _ in boxes()}
    for room, there in top_imports().items():
        assert all(tops[room] < tops[below] for below in there), room


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("edgecvx", ""),
        ("edgecvx.spec", "spec"),
        ("edgecvx.graph", "graph"),
        ("edgecvx.graph.fold", "graph"),
        ("edgecvx.export.onnx", "export.onnx"),
        ("edgecvx.export.onnx.rows", "export.onnx"),
    ],
)
def test_a_module_is_in_its_folders_room(module: str, room: str) -> None:
    assert module in sources() and room_of(module) == room
