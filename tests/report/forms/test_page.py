"""A report over validations and benchmarks: its forms agree, take any text, and stay small."""

from __future__ import annotations

import csv
import dataclasses
import functools
import html as entities
import io
import re
from collections.abc import Iterable

import benchmark_sample as sample
import pytest
from pages import Tags
from validation_sample import hostile as hostile_validation

from edgecvx.report.forms import csv as csv_form
from edgecvx.report.forms import markdown as markdown_form
from edgecvx.report.forms import page as page_form
from edgecvx.report.join import join
from edgecvx.results import figures
from edgecvx.results.accuracy import Validation
from edgecvx.results.latency import Benchmark
from edgecvx.results.statistics import noise

HOSTILE = [
    "</title></style></script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "| a | b |\n# heading [link](http://x.invalid) `code` **bold**",
    "re\u202edlof \x00 \ud800 \U0001f9a9",
    "=HYPERLINK(1)",
    "x" * 100_000,
]
"""What strangers write into labels, file names and the names of their machines."""


def html(validations: Iterable[Validation], benchmarks: Iterable[Benchmark], *, title: str | None = None) -> str:
    return page_form.page(join(validations, benchmarks, title=title))


def markdown(validations: Iterable[Validation], benchmarks: Iterable[Benchmark]) -> str:
    return markdown_form.markdown(join(validations, benchmarks))


def table(validations: Iterable[Validation], benchmarks: Iterable[Benchmark]) -> str:
    return markdown_form.table(join(validations, benchmarks))


def as_csv(validations: Iterable[Validation], benchmarks: Iterable[Benchmark]) -> str:
    return csv_form.csv(join(validations, benchmarks))


def page(*benchmarks: Benchmark, validations: tuple[Validation, ...] | None = None) -> str:
    return html((sample.validation(),) if validations is None else validations, benchmarks or (sample.benchmark(),))


def visible(page: str) -> str:
    """The text of a page, without its markup and style."""
    body = page.partition("<body>")[2]
    return " ".join(entities.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_form_holds_the_same_figures() -> None:
    given = ([sample.validation()], [sample.benchmark()])
    shown = visible(html(*given))
    for form in (shown, markdown(*given).replace("\\", ""), table(*given).replace("\\", "")):
        for expected in ("onnx int8 2T", "5.44 ms", "−0.25 [−0.72, +0.22]", "93.45%", "0.458×", "26%", "68 MB",
                         "Raspberry Pi 5 Model B Rev 1.0", "emulated"):  # fmt: skip
            assert expected in form, expected
    (row,) = [r for r in records(as_csv(*given)) if r["file"].endswith("int8.onnx") and r["threads"] == "2"]
    assert float(row["p50_ms"]) == pytest.approx(5.44, abs=0.005)
    assert float(row["top1_change_fraction"]) == pytest.approx(-0.0025)
    assert row["verdict"] == "pass" and row["emulated"] == "no"


def test_the_recommendation_is_the_fastest_that_passes_with_its_numbers() -> None:
    """openvino's INT8 file would be the fastest with one thread, and undecided is not passed."""
    shown = visible(page(sample.benchmark(sample.laptop())))
    assert "On AMD EPYC 7B13, take onnx int8 2T: 5.44 ms" in shown
    assert (
        "The fastest that passes is onnx int8 2T: p50 5.44 ms [5.44, 5.46], 182 pictures a second; "
        "top-1 93.45%, −0.25 [−0.72, +0.22] points against FP32; 0.458× the time of the FP32 file. "
        "Next is onnx int8 1T, which takes 1.80× [1.77, 1.83] its time."
    ) in shown


def test_two_that_cannot_be_told_apart_are_said_to_be() -> None:
    bench = sample.laptop()
    twins = (
        sample.measured(0, sample.identity("onnx", "fp32"), 20.0),
        sample.measured(1, sample.identity("tflite", "fp32"), 20.1),
    )
    bench = dataclasses.replace(bench, measured=twins, ratios=sample.ratios(twins))
    assert "It cannot be told apart from tflite fp32" in visible(page(sample.benchmark(bench)))


def test_where_nothing_passes_nothing_is_recommended() -> None:
    bench = sample.laptop()
    failing = tuple(m for m in bench.measured if m.identity.file.endswith("int8.tflite"))
    shown = visible(page(sample.benchmark(dataclasses.replace(bench, measured=failing, ratios=()))))
    assert "Nothing on AMD EPYC 7B13 passes its gate" in shown
    assert "Nothing timed here passes its accuracy gate: 1 fail." in shown
    assert "take this" not in shown


def test_too_few_pictures_are_no_verdict() -> None:
    bench = sample.laptop()
    open_still = tuple(m for m in bench.measured if m.identity.file.endswith("int8.xml"))
    shown = visible(page(sample.benchmark(dataclasses.replace(bench, measured=open_still, ratios=()))))
    assert "Too few pictures to tell what to take on AMD EPYC 7B13" in shown
    expected = "Nothing timed here passes its accuracy gate: 1 undecided; about 5 200 pictures would decide."
    assert expected in shown.replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_an_emulator_is_marked_and_never_recommended() -> None:
    shown = visible(page(sample.benchmark(sample.emulated())))
    assert "emulated, no device times" in shown
    assert "Emulated by qemu: that the files run is all these figures say." in shown
    assert "Emulated: the emulator's times, not the device's." in shown, "in the captions of the plots"
    assert "take this" not in shown and "fastest" not in shown and "on the front" not in shown


def test_an_outlier_is_in_every_form() -> None:
    """One run of 200 took eleven times as long: it is drawn, named and in the CSV."""
    bench = sample.benchmark(sample.laptop())
    slowest = max(s for t in bench.devices[0].measured[0].model for s in t.samples_ns) / 1e6
    drawn = page(bench)
    assert f"the slowest run, {figures.milliseconds(slowest)}, 11" in entities.unescape(drawn)
    assert f"to {figures.milliseconds(slowest)}" in visible(drawn)
    row = records(as_csv([], [bench]))[5]
    assert float(row["max_ms"]) == pytest.approx(slowest)


def test_a_benchmark_alone_and_a_validation_alone_are_reports() -> None:
    alone = visible(page(sample.benchmark(sample.pi()), validations=()))
    assert "4 files, timed on Raspberry Pi 5 Model B Rev 1.0" in alone
    assert "No validation is among these results" in alone
    judged = visible(html([sample.validation()], []))
    assert "7 files, validated and not yet timed" in judged
    timed = visible(html([sample.validation()], [sample.benchmark(sample.pi())]))
    assert timed.count("not timed") == 3 and "not timed" not in judged.replace("not yet timed", "")
    assert "Nothing was measured" in visible(html([], []))
    assert records(as_csv([], [])) == []


@pytest.mark.parametrize(
    ("spread", "drift", "expected"),
    [(0.0, 0.0, "was quiet."), (0.2, 0.0, "was noisy: something else"), (0.0, 0.5, "became slower on the way: ratios")],
)
def test_the_machines_noise_is_told_once(spread: float, drift: float, expected: str) -> None:
    yardsticks = [round(1e6 * (1 + spread * (i % 3) + drift * i / 60)) for i in range(60)]
    bench = dataclasses.replace(sample.laptop(), noise=noise(yardsticks))
    told = markdown([], [sample.benchmark(bench)])
    (line,) = [line for line in told.splitlines() if "timed 60 times" in line]
    assert line.startswith(f"<sub>The machine {expected}") and line.count("The machine") == 1


def test_a_title_takes_the_headlines_place() -> None:
    made = html([], [sample.benchmark(sample.pi())], title="Kitchen <1>")
    assert '<h1 class="name">Kitchen &lt;1&gt;</h1>' in made
    assert "4 files, timed on Raspberry Pi 5 Model B Rev 1.0." in visible(made), "which moves into the lead"


def named(word: str) -> tuple[list[Validation], list[Benchmark]]:
    """Both kinds of results, with a word wherever a stranger chooses it."""
    return [hostile_validation(word)], [sample.hostile(word)]


@functools.cache
def harmless() -> list[tuple[str, list[str]]]:
    return [(tag, sorted(attrs)) for tag, attrs in Tags(html(*named("y" * 40))).tags]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_break_out(text: str) -> None:
    """A hostile page has the tags of a harmless one of the same size; Markdown keeps its columns, CSV its cells."""
    made = html(*named(text))
    assert [(tag, sorted(attrs)) for tag, attrs in Tags(made).tags] == harmless()
    assert len(made.encode()) < 2_500_000, "no text fills the page"
    told = markdown(*named(text))
    assert not re.search(r"(?<!\\)<(script|img)", told)
    for block in re.findall(r"(?:^\|.*\n)+", told, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, (
            "tables keep their columns"
        )
    for record in records(as_csv(*named(text))):
        assert None not in record and None not in record.values(), "every line has every column"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "\r=1", "＝1"])
def test_a_spreadsheet_runs_nothing(text: str) -> None:
    for record in records(as_csv([], [sample.hostile(text)])):
        assert record["file"].startswith("'") and record["device"].startswith("'")
        assert float(record["size_bytes"]) > 0, "numbers stay numbers"
    (row, *_) = records(as_csv([sample.validation()], [sample.benchmark(sample.pi())]))
    assert row["top1_change_fraction"].startswith("-0."), "also the negative ones"


def test_the_page_loads_and_runs_nothing() -> None:
    made = page()
    tags = Tags(made).tags
    assert not {"script", "iframe", "object", "embed", "form", "base", "img"} & {tag for tag, _ in tags}
    for tag, attrs in tags:
        assert not [name for name in attrs if name.startswith("on")], tag
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), (tag, attrs)
    assert "@import" not in made and "url(" not in made
    assert "default-src 'none'" in made


def test_the_page_can_be_read_without_seeing_it() -> None:
    tags = Tags(page()).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in tags:
        if tag == "svg":
            assert attrs["role"] == "img" and attrs["aria-label"]
        if tag == "th":
            assert attrs.get("scope") in ("col", "row")
        if tag == "a":
            assert str(attrs["href"]).removeprefix("#") in ids, "no link leads nowhere"
        if tag in ("section",):
            assert attrs["aria-labelledby"] in ids
    assert ("html", {"lang": "en"}) in tags
    assert sum(tag == "h1" for tag, _ in tags) == 1


def test_two_hundred_artifacts_fold() -> None:
    validation, benchmark = sample.many(200)
    made = html([validation], [benchmark])
    assert len(made.encode()) < 5_000_000
    assert "176 slower ones" in visible(made)
    assert made.count("<svg") < 200
    assert len(records(as_csv([validation], [benchmark]))) == 200


def test_reports_are_the_same_on_any_day() -> None:
    given = ([sample.validation()], [sample.benchmark()])
    assert html(*given) == html(*given)
    assert as_csv(*given) == as_csv(*given)
