"""The four forms of a report say the same, take any text, and can be read back."""

from __future__ import annotations

import dataclasses
import html as entities
import io
import json
import re
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import validation_sample as sample
from pages import Tags
from PIL import Image
from rich.console import Console
from schema import validation_schema

from edgecvx.accuracy.thumbnails import SIDE, thumbnails
from edgecvx.data.demo import write_folder
from edgecvx.errors import EdgecvxError
from edgecvx.report import words
from edgecvx.report.forms import markdown, page, terminal
from edgecvx.report.join import join
from edgecvx.results import figures
from edgecvx.results.accuracy import Interval, SkippedPicture, Validation, as_json, read_json
from edgecvx.spec import to_json

HOSTILE = [
    "</title></style></script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "| a | b |\n# heading [link](http://x.invalid) `code` **bold**",
    "[bold red]markup[/] \\[",
    "re\u202edlof \x00 \ud800 \U0001f9a9",
    "x" * 3000,
]
"""What strangers write into labels and file names."""


def html(validation: Validation, thumbnails: Mapping[str, bytes] = MappingProxyType({})) -> str:
    return page.page(join([validation], [], thumbnails=thumbnails))


def on_terminal(validation: Validation, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(terminal.validation_terminal(validation))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def unlabelled() -> Validation:
    """A run without right answers: no accuracy, no verdict, and still a report."""
    made = sample.validation()
    bare = dataclasses.replace(
        made.artifacts[0],
        verdict=dataclasses.replace(made.artifacts[0].verdict, kind="none", reason="there are no labels"),
        top1=None,
        top5=None,
        running=(),
        worst_classes=(),
        layers=(),
    )
    return dataclasses.replace(made, artifacts=(bare,))


def test_every_form_holds_the_same_figures() -> None:
    made = sample.validation()
    shown = entities.unescape(re.sub(r"<[^>]+>", " ", html(made)))
    for form in (on_terminal(made, 200), markdown.validation_markdown(made).replace("\\", ""), shown):
        for expected in ("1 of 4 files keeps the accuracy", "−2.90", "[−3.80, −2.00]", "93.70%", "90.80%", "142",
                         "24.0 dB", "undecided", "stages.2.downsample.1", "Red and blue are swapped"):  # fmt: skip
            assert expected in form, expected


def test_markdown_names_what_was_left_out() -> None:
    told = markdown.validation_markdown(sample.validation()).replace("\\", "")
    assert "1 entry of the data left out: cats/broken.jpg (the file is empty)." in told
    data = dataclasses.replace(
        sample.validation().data,
        skipped=tuple(SkippedPicture(name=f"{i}.jpg", reason="bad") for i in range(12)),
        skipped_reasons={"bad": 2000},
    )
    told = markdown.validation_markdown(dataclasses.replace(sample.validation(), data=data)).replace("\\", "")
    assert "9.jpg (bad); and 1\N{NARROW NO-BREAK SPACE}990 more." in told and "10.jpg" not in told


def test_a_table_fits_a_terminal_of_100_columns() -> None:
    lines = on_terminal(sample.validation(), 100).splitlines()
    assert any("int8.tflite" in line and "fail" in line for line in lines) or any("✕ fail" in line for line in lines)
    assert max(map(len, lines)) <= 100
    assert "[−3.80, −2.00]" in "\n".join(lines), "figures are never cut"


def test_json_comes_back_as_it_was() -> None:
    made = sample.validation()
    assert read_json(as_json(made)) == made


def test_json_knows_no_nan() -> None:
    made = sample.validation()
    artifact = made.artifacts[0]
    assert artifact.top1
    broken = dataclasses.replace(artifact.top1, interval=Interval(low=float("nan"), high=0.0))
    with pytest.raises(ValueError, match="JSON"):
        as_json(dataclasses.replace(made, artifacts=(dataclasses.replace(artifact, top1=broken),)))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema_version": 1}', "[" * 100_000])
def test_what_is_no_validation_is_refused(text: str) -> None:
    with pytest.raises(EdgecvxError):
        read_json(text)


def test_the_schema_that_ships_is_the_one_of_the_code() -> None:
    """``python tools/schema.py`` writes it anew."""
    ships = resources.files("edgecvx") / "assets" / "validation.schema.json"
    assert ships.read_text(encoding="utf-8") == validation_schema()


def test_reports_follow_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(validation_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for made in (sample.validation(), sample.hostile("x"), unlabelled()):
        validator.validate(json.loads(as_json(made)))
    spoils: tuple[Callable[[Any], object], ...] = (
        lambda d: d.update(surprise=1),
        lambda d: d.pop("gate"),
        lambda d: d.update(schema_version=99),
        lambda d: d["artifacts"][0]["verdict"].update(kind="perhaps"),
        lambda d: d["artifacts"][0]["top1"]["interval"].update(low="-1"),
        lambda d: d["artifacts"][1]["layers"][3].update(sqnr_db="high"),
    )
    for spoil in spoils:
        data = to_json(sample.validation())
        spoil(data)
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(data)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_break_out(text: str) -> None:
    """The page of a hostile validation has the tags of a harmless one of the same size, and no other attribute."""
    harmless = Tags(html(sample.hostile("y" * 40))).tags
    found = Tags(html(sample.hostile(text))).tags
    assert [(tag, sorted(attrs)) for tag, attrs in found] == [(tag, sorted(attrs)) for tag, attrs in harmless]
    html(sample.hostile(text)).encode()
    as_json(sample.hostile(text)).encode()
    for line in markdown.validation_markdown(sample.hostile(text)).splitlines():
        assert not re.search(r"(?<!\\)<(script|img)", line)
        if line.startswith("| ") and "undecided" in line:
            assert len(re.findall(r"(?<!\\)\|", line)) == 9, "the table keeps its columns"
    if "\x00" not in text:
        assert text.splitlines()[0][:20] in on_terminal(sample.hostile(text), 200), "and is shown as it is"


def test_the_page_loads_and_runs_nothing() -> None:
    small = {"demo/validation/17": b"\x89PNG rest", "demo/validation/34": b"\xff\xd8 rest"}
    made = html(sample.validation(), small)
    tags = Tags(made).tags
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in tags}
    for tag, attrs in tags:
        assert not [name for name in attrs if name.startswith("on")], tag
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), (tag, attrs)
    assert "@import" not in made and "url(" not in made
    assert made.count("data:image/png;base64") == made.count("data:image/jpeg;base64") == 3
    assert len(made.encode()) < 400_000


def test_the_page_can_be_read_without_seeing_it() -> None:
    tags = Tags(html(sample.validation(), {"demo/validation/17": b"\x89PNG"})).tags
    for tag, attrs in tags:
        if tag == "svg":
            assert attrs["role"] == "img" and attrs["aria-label"]
        if tag == "img":
            assert attrs["alt"]
        if tag == "th":
            assert attrs.get("scope") in ("col", "row")
    assert ("html", {"lang": "en"}) in tags
    assert sum(tag == "h1" for tag, _ in tags) == 1


def _luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_the_contrast_that_reading_needs() -> None:
    """WCAG AA: 4.5 to 1 for small text, in both colour schemes."""
    schemes = re.findall(r":root \{(.*?)\}", html(sample.validation()), re.DOTALL)[:2]
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", scheme))
        pairs = [(text, ground) for text in ("ink", "soft", "faint", "line") for ground in ("paper", "card", "wash")]
        pairs += [(kind, f"{kind}-wash") for kind in figures.VERDICTS]
        for text, ground in pairs:
            high, low = sorted((_luminance(colours[text]), _luminance(colours[ground])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {ground}"


def test_a_run_without_labels_still_has_a_report() -> None:
    made = unlabelled()
    assert "compared without a verdict" in html(made)
    assert "not judged" in on_terminal(made)
    assert "not judged" in markdown.validation_markdown(made)
    assert '<table class="matrix">' not in html(made)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["pass"], "The file keeps its accuracy"),
        (["pass", "pass"], "All 2 files keep their accuracy"),
        (["pass", "pass", "fail"], "2 of 3 files keep the accuracy"),
        (["undecided", "undecided"], "Too few pictures to decide"),
        (["error"], "The file could not be run"),
        (["fail", "error"], "None of 2 files passes"),
    ],
)
def test_the_headline(kinds: list[str], expected: str) -> None:
    made = sample.validation()
    artifact = made.artifacts[0]
    artifacts = tuple(
        dataclasses.replace(artifact, verdict=dataclasses.replace(artifact.verdict, kind=kind))  # type: ignore[arg-type]
        for kind in kinds
    )
    assert words.verdict(dataclasses.replace(made, artifacts=artifacts)) == expected


def test_numbers_read_as_people_write_them() -> None:
    assert figures.points(-0.00349) == "−0.35"
    assert figures.points(-0.00001) == "0.00", "no minus in front of nothing"
    assert figures.points(0.0005) == "+0.05"
    assert figures.decibels(None) == "identical"
    assert figures.cosine(0.9999999999) == "1"
    assert figures.cosine(-0.5) == "−0.500000"
    assert figures.count(1234567).split("\N{NARROW NO-BREAK SPACE}") == ["1", "234", "567"]
    assert figures.counted(1, "entry", "entries") == "1 entry"
    assert figures.p_value(1e-9) == "p < 0.0001"
    assert figures.sentence("no such file") == "No such file."


def test_thumbnails_show_what_the_network_saw(tmp_path: Path) -> None:
    drawn = thumbnails(sample.validation(), "demo")
    assert set(drawn) == {f"demo/validation/{17 * i}" for i in range(1, 7)}
    assert Image.open(io.BytesIO(drawn["demo/validation/17"])).size == (SIDE, SIDE)

    (file,) = write_folder(tmp_path, count=1, size=64)
    name = file.relative_to(tmp_path).as_posix()
    made = sample.hostile(name)
    assert set(thumbnails(made, tmp_path)) == {name}
    assert thumbnails(sample.hostile("gone.png"), tmp_path) == {}
    assert thumbnails(sample.hostile(f"../{tmp_path.name}/{name}"), tmp_path) == {}, "names do not lead outside"
