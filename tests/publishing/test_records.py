"""What a run says is what the result says, by names that servers take, with the ends of every interval."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import benchmark_sample as sample
import pytest
import tuned_sample
from small_classifier import Exported

from edgecvx.latency.bench import as_json
from edgecvx.manifest import manifest_path
from edgecvx.publishing.records import RunRecord, metric_name, of_benchmark, of_sweep, of_tuned, of_validation
from edgecvx.results.accuracy import Interval
from edgecvx.results.latency import GateResult
from edgecvx.sweep.result import CellAccuracy, CellLatency, CellResult, GateOutcome, SweepResult


def swept(*latency: CellLatency) -> SweepResult:
    accuracy = CellAccuracy(
        data="drawn",
        verdict="pass",
        reason="within",
        pictures=24,
        top1=0.9,
        reference_top1=0.95,
        delta=-0.05,
        interval=Interval(low=-0.1, high=0.0),
        sqnr_db=30.0,
        flips=2,
    )
    cell = CellResult(
        name="mine-onnx-int8",
        model="mine",
        target="onnx",
        precision="int8",
        image_size=64,
        calibration="few",
        file="mine.onnx",
        sha256="ab" * 32,
        bytes=2_000_000,
        accuracy=(accuracy,),
        latency=latency,
    )
    gate = GateOutcome(kind="max_mb", limit=1, cell=cell.name, on=None, verdict="fail", sentence="2 MB")
    return SweepResult(edgecvx="0.1.0", name="small", key="k", cells=(cell,), gates=(gate,), missing=(), left_out=())


def timed(device: str, p50: float) -> CellLatency:
    return CellLatency(
        device=device,
        runtime="onnxruntime",
        threads=1,
        p50=p50,
        interval=Interval(low=p50 - 1, high=p50 + 1),
        mean=p50,
        peak_bytes=100_000_000,
        error=None,
    )


def test_a_validation_of_one_file_is_one_run_with_its_figures() -> None:
    validation = sample.validation()
    (first, *_) = validation.artifacts
    record = of_validation(replace(validation, artifacts=(first,)), [])
    assert record.children == ()
    assert first.top1 is not None
    numbers = record.numbers()
    assert numbers["top1"] == first.top1.artifact.value
    assert (numbers["top1_low"], numbers["top1_high"]) == (
        first.top1.artifact.interval.low,
        first.top1.artifact.interval.high,
    )
    assert (numbers["top1_change_low"], numbers["top1_change"]) == (first.top1.interval.low, first.top1.delta)
    assert record.words()["sha256"] == first.identity.sha256
    assert record.words()["precision"] == first.identity.precision
    assert record.tags["verdict"] == first.verdict.kind


def test_several_files_are_runs_in_one() -> None:
    validation = sample.validation()
    record = of_validation(validation, [])
    assert [child.name for child in record.children] == [o.identity.file for o in validation.artifacts]
    assert record.numbers() == {}


def test_a_benchmark_has_milliseconds_with_their_ends() -> None:
    bench = sample.benchmark(sample.laptop())
    record = of_benchmark(bench, as_json(bench), [])
    summary = bench.devices[0].measured[0].model_summary
    assert summary is not None
    (p50, *_) = summary.percentiles
    assert p50.interval is not None
    numbers = record.children[0].numbers()
    assert (numbers["p50_low_ms"], numbers["p50_ms"], numbers["p50_high_ms"]) == (
        p50.interval.low,
        p50.ms,
        p50.interval.high,
    )
    assert "end_to_end_p50_ms" in numbers
    assert record.texts == {"latency.json": as_json(bench)}


def test_a_gate_that_failed_on_one_device_is_not_hidden_by_another() -> None:
    passed = GateResult(
        kind="max_p50",
        limit=9.0,
        device="kitchen",
        measured="femto.onnx",
        against=None,
        value=5.0,
        interval=None,
        verdict="pass",
        sentence="5 ms",
    )
    failed = replace(passed, verdict="fail")
    elsewhere = replace(passed, device="desk")
    bench = replace(sample.benchmark(sample.laptop()), gates=(failed, elsewhere, passed))  # two boards have one name
    assert of_benchmark(bench, "{}", []).tags == {
        "gate max_p50 femto.onnx on kitchen": "fail",
        "gate max_p50 femto.onnx on desk": "pass",
    }


def test_the_manifest_of_a_file_goes_with_its_run(small_classifier: Exported) -> None:
    (first, *_) = sample.validation().artifacts
    outcome = replace(first, identity=replace(first.identity, file=small_classifier.path.name))
    for given in ([small_classifier.path], [small_classifier.path, manifest_path(small_classifier.path)]):
        record = of_validation(replace(sample.validation(), artifacts=(outcome,)), given)
        assert [path.name for path, _ in record.files] == [small_classifier.path.name + ".edgecvx.json"]


def test_a_sweep_is_a_run_with_one_for_each_file_which_brings_it(tmp_path: Path) -> None:
    folder = tmp_path / "files" / "mine-onnx-int8"
    folder.mkdir(parents=True)
    (folder / "mine.onnx").write_bytes(b"a file")
    (tmp_path / "report.html").write_text("a page")
    record = of_sweep(swept(timed("pi", 9.0)), "{}", tmp_path)
    assert record.files == ((tmp_path / "report.html", ""),)
    assert record.numbers()["gates_fail"] == 1
    (child,) = record.children
    assert child.files == ((folder / "mine.onnx", "files"),)
    assert child.numbers() | {"p50_ms": 9.0, "p50_low_ms": 8.0, "top1_change_low": -0.1, "size_mb": 2.0} == (
        child.numbers()
    )
    assert child.tags == {"gate max_mb": "fail"}


def test_figures_of_several_devices_stand_apart() -> None:
    (child,) = of_sweep(swept(timed("pi", 9.0), timed("desk", 3.0)), "{}", Path("nowhere")).children
    numbers = child.numbers()
    assert numbers["p50_ms.pi.onnxruntime.1"] == 9.0
    assert numbers["p50_high_ms.desk.onnxruntime.1"] == 4.0
    assert "p50_ms" not in numbers


def test_a_search_ships_its_file_and_has_a_run_for_each_that_raced(tmp_path: Path) -> None:
    (tmp_path / "ship").mkdir()
    (tmp_path / "ship" / "femto.onnx").write_bytes(b"the winner")
    tuned = tuned_sample.tuned()
    (device,) = tuned.devices
    timed = replace(tuned_sample.row("femto 160 onnx int8", "predicted", top1=None), ms=3.0)  # to predict others from
    tuned = replace(tuned, devices=(replace(device, shipped="ship/femto.onnx", rows=(*device.rows, timed)),))
    record = of_tuned(tuned, "{}", tmp_path)
    assert record.files == ((tmp_path / "ship" / "femto.onnx", "ship"),)
    assert record.words()["ships"] == "femto 192 onnx int8"
    assert record.numbers()["p50_ms"] == 5.0
    assert len(record.children) == sum(row.ms is not None for row in device.rows) > 1
    assert {child.tags["state"] for child in record.children}.isdisjoint({"predicted", "dropped"})


def test_a_search_that_ships_nothing_has_no_figures_of_its_own(tmp_path: Path) -> None:
    tuned = tuned_sample.tuned()
    tuned = replace(tuned, devices=tuple(replace(d, shipped=None) for d in tuned.devices))
    assert of_tuned(tuned, "{}", tmp_path).numbers() == {}


def test_what_was_not_measured_is_left_out() -> None:
    record = RunRecord(name="a", metrics={"a": None, "b": math.inf, "c": math.nan, "d": 0.0}, params={"e": None})
    assert record.numbers() == {"d": 0.0}
    assert record.words() == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [("p50_ms.ssh://pi@kitchen", "p50_ms.ssh_//pi_kitchen"), ("../..", "_"), ("é" * 300, "_" * 200), ("a\nb", "a_b")],
)
def test_names_are_such_as_servers_take(text: str, name: str) -> None:
    assert metric_name(text) == name
