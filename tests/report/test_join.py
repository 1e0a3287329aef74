"""What is joined with what, ranked against what, and recommended."""

from __future__ import annotations

import dataclasses

import benchmark_sample as sample
import pytest

from edgecvx.report.join import DevicePart, Front, Row, join
from edgecvx.results.accuracy import Validation
from edgecvx.results.latency import Benchmark, DeviceBench


def only(*benches: DeviceBench, validation: Validation | None = None) -> DevicePart:
    (device,) = join([validation or sample.validation()], [sample.benchmark(b) for b in benches]).devices
    return device


def labels(rows: tuple[Row, ...]) -> list[str]:
    return [row.label for row in rows]


def test_artifacts_are_joined_by_their_content_alone() -> None:
    """The file may be called something else on the device; another content is another artifact."""
    bench = sample.pi()
    m = bench.measured[0]
    renamed = dataclasses.replace(m, identity=dataclasses.replace(m.identity, file="model.onnx"))
    other = dataclasses.replace(m, id="x", identity=dataclasses.replace(m.identity, sha256=sample.sha("other")))
    device = only(dataclasses.replace(bench, measured=(renamed, other), ratios=()))
    by_sha = {row.identity.sha256: row for row in device.rows}
    assert by_sha[m.identity.sha256].verdict == "pass"
    assert by_sha[sample.sha("other")].verdict is None


def test_the_validation_with_most_pictures_counts() -> None:
    few = sample.validation()
    few = dataclasses.replace(few, artifacts=tuple(dataclasses.replace(o, pictures=40) for o in few.artifacts))
    for order in ([few, sample.validation()], [sample.validation(), few]):
        joined = join(order, [sample.benchmark(sample.pi())])
        assert {a.outcome.pictures for a in joined.accuracies.values()} == {2000}
        assert {a.others for a in joined.accuracies.values()} == {1}


def test_the_same_file_given_twice_counts_once() -> None:
    joined = join([sample.validation()] * 2, [sample.benchmark(sample.pi())] * 2)
    assert len(joined.benchmarks) == len(joined.validations) == 1
    assert joined.superseded == 0 and not any(a.others for a in joined.accuracies.values())


def test_a_file_that_was_measured_against_itself_is_two_rows() -> None:
    """Neither measurement is older: both were made in one benchmark."""
    bench = sample.pi()
    twin = dataclasses.replace(bench.measured[0], id="twin")
    joined = join([], [sample.benchmark(dataclasses.replace(bench, measured=(bench.measured[0], twin), ratios=()))])
    (device,) = joined.devices
    assert len(device.rows) == 2
    assert joined.superseded == 0


def test_two_hosts_are_never_in_one_part() -> None:
    joined = join([sample.validation()], [sample.benchmark()])
    assert len(joined.devices) == 3
    for device in joined.devices:
        ids = {row.bench.fingerprint.id for row in device.rows if row.bench}
        assert ids == {device.fingerprint.id}
    assert joined.devices[-1].emulated == "qemu", "which comes last"


def test_devices_whose_id_could_not_be_read_are_strangers() -> None:
    bench = sample.pi()
    unknown = dataclasses.replace(bench, fingerprint=dataclasses.replace(bench.fingerprint, id="unknown"))
    again = dataclasses.replace(unknown, before=sample.conditions(30, load=0.1))
    joined = join([], [sample.benchmark(unknown), sample.benchmark(again)])
    assert len(joined.devices) == 2
    assert len({device.title for device in joined.devices}) == 1 or joined.devices[0].title != joined.devices[1].title


def test_two_boards_of_one_kind_are_told_apart_by_name() -> None:
    bench = sample.pi()
    other = dataclasses.replace(
        bench, fingerprint=dataclasses.replace(bench.fingerprint, id="77" * 8, name="ssh://pi@attic", hostname="attic")
    )
    titles = [device.title for device in join([], [sample.benchmark(bench, other)]).devices]
    assert titles == ["Raspberry Pi 5 Model B Rev 1.0 (kitchen)", "Raspberry Pi 5 Model B Rev 1.0 (attic)"]


def test_a_newer_measurement_replaces_the_older_one_but_an_error_does_not() -> None:
    old = sample.pi()
    faster = sample.measured(0, old.measured[0].identity, 5.0, threads=4)
    failed = dataclasses.replace(old.measured[1], model_summary=None, model=(), error="it died")
    new = dataclasses.replace(old, before=sample.conditions(40, load=0.1), measured=(faster, failed), ratios=())
    joined = join([], [sample.benchmark(new), sample.benchmark(old)])
    (device,) = joined.devices
    assert device.rows[0].p50 == pytest.approx(5.0, rel=0.05)
    assert all(row.measured and row.measured.error is None for row in device.rows)
    assert len(device.rows) == 4 and joined.superseded == 2


def test_the_ratio_is_to_fp32_of_the_same_format_and_threads() -> None:
    for row in only(sample.laptop()).rows:
        if row.identity.precision == "fp32":
            assert row.against_fp32 is None
        elif row.p50 is not None:
            assert row.bench and row.measured and row.against_fp32
            (base,) = [m for m in row.bench.measured if m.id == row.against_fp32.against]
            assert base.identity.precision == "fp32"
            assert (base.identity.format, base.threads) == (row.identity.format, row.measured.threads)


def test_the_share_of_fp32_is_known_from_any_file_of_the_same_weights() -> None:
    """Only INT8 files say what their weights take in float32."""
    bench = sample.pi()
    shy = tuple(m if m.calibration else dataclasses.replace(m, fp32_bytes=None) for m in bench.measured)
    shares = {row.label: row.share for row in only(dataclasses.replace(bench, measured=shy)).rows}
    assert shares["onnx fp32"] == pytest.approx(1.0, abs=0.001)
    assert shares["onnx int8"] == pytest.approx(0.262, abs=0.001)
    none = tuple(dataclasses.replace(m, fp32_bytes=None) for m in bench.measured)
    assert {row.share for row in only(dataclasses.replace(bench, measured=none)).rows} == {None}


def test_a_ratio_that_was_taken_the_other_way_is_turned() -> None:
    bench = sample.pi()
    turned = tuple(
        dataclasses.replace(
            r, of=r.against, against=r.of, value=1 / r.value,
            interval=r.interval and dataclasses.replace(r.interval, low=1 / r.interval.high, high=1 / r.interval.low),
        )
        for r in bench.ratios
    )  # fmt: skip
    before = {row.label: row.against_fp32 for row in only(bench).rows}
    for row in only(dataclasses.replace(bench, ratios=turned)).rows:
        expected = before[row.label]
        if expected:
            assert row.against_fp32 and row.against_fp32.value == pytest.approx(expected.value)


def dominates(a: Row, b: Row) -> bool:
    assert a.p50 is not None and b.p50 is not None and a.top1 is not None and b.top1 is not None
    return a.p50 <= b.p50 and a.top1 >= b.top1 and (a.p50 < b.p50 or a.top1 > b.top1)


@pytest.mark.parametrize("count", [7, 60, 200])
def test_the_front_is_paretos(count: int) -> None:
    """Held against the definition, pair by pair."""
    validation, benchmark = sample.many(count)
    (device,) = join([validation], [benchmark]).devices
    (front,) = device.fronts
    best = {row.key for row in front.rows if not any(dominates(other, row) for other in front.rows)}
    assert {row.key for row in front.best} == best
    assert {row.key for row, _ in front.dominated} == {row.key for row in front.rows} - best
    for row, by in front.dominated:
        assert dominates(by, row) and by.key in best


def test_different_pictures_have_fronts_of_their_own() -> None:
    validation = sample.validation()
    half = dataclasses.replace(validation, artifacts=validation.artifacts[:2])
    rest = dataclasses.replace(
        validation, artifacts=validation.artifacts[2:], data=dataclasses.replace(validation.data, sha256="5e" * 32)
    )
    (device,) = join([half, rest], [sample.benchmark(sample.laptop())]).devices
    assert len(device.fronts) == 2

    def pictures(front: Front) -> set[str]:
        return {row.accuracy.data.sha256 for row in front.rows if row.accuracy}

    assert [pictures(front) for front in device.fronts] == [{front.data.sha256} for front in device.fronts]


def test_batches_are_not_ranked_with_single_pictures() -> None:
    bench = sample.pi()
    eight = dataclasses.replace(bench.measured[1], id="b8", batch=8)
    device = only(dataclasses.replace(bench, measured=(*bench.measured, eight)))
    assert "onnx int8 batch 8" in labels(device.rows)
    assert "onnx int8 batch 8" not in labels(device.fronts[0].rows)


def test_one_pick_per_model_the_fastest_that_passes() -> None:
    validation, benchmark = sample.many(60)
    (device,) = join([validation], [benchmark]).devices
    for pick in device.picks:
        same = [row for row in device.rows if row.identity.model == pick.row.identity.model and row.verdict == "pass"]
        assert pick.row.p50 == min(row.p50 for row in same if row.p50 is not None)
    assert len({pick.row.identity.model for pick in device.picks}) == len(device.picks) > 1


def test_an_emulator_has_neither_front_nor_pick() -> None:
    device = only(sample.emulated())
    assert device.picks == () and all(front.best == () == front.dominated for front in device.fronts)


def test_labels_tell_rows_apart_in_few_words() -> None:
    assert labels(only(sample.laptop()).rows)[:2] == ["onnx int8 2T", "openvino int8 1T"]
    assert labels(only(sample.pi()).rows)[0] == "onnx int8", "one number of threads need not be named"
    validation, benchmark = sample.many(200)
    (device,) = join([validation], [benchmark]).devices
    assert len(set(labels(device.rows))) == 200


def test_labels_of_files_alike_take_their_names() -> None:
    bench = sample.pi()
    m = bench.measured[0]
    other = dataclasses.replace(
        m, id="x", identity=dataclasses.replace(m.identity, file="b.onnx", sha256=sample.sha("b"))
    )
    names = labels(only(dataclasses.replace(bench, measured=(m, other), ratios=())).rows)
    assert set(names) == {m.identity.file, "b.onnx"}


def test_a_benchmark_of_nothing_is_a_part_without_rows() -> None:
    lost = dataclasses.replace(sample.pi(), measured=(), ratios=(), after=None, error="the host does not answer")
    (device,) = join([], [Benchmark(edgecvx="0", protocol=sample.benchmark().protocol, devices=(lost,))]).devices
    assert device.rows == () and device.fronts == () and device.picks == ()
