"""What a reader has to know is told, where it is so and nowhere else."""

from __future__ import annotations

import dataclasses

import benchmark_sample as sample
import pytest

from edgecvx.latency.warnings import warnings_of
from edgecvx.report.forms.page import page
from edgecvx.report.join import join
from edgecvx.report.remarks import device_remarks, general_remarks
from edgecvx.results.accuracy import Validation
from edgecvx.results.latency import DeviceBench, ToolTimings, percentile


def of_device(bench: DeviceBench) -> str:
    (device,) = join([sample.validation()], [sample.benchmark(bench)]).devices
    return "\n".join(device_remarks(device))


def in_general(*benches: DeviceBench, validations: tuple[Validation, ...] | None = None) -> str:
    given = (sample.validation(),) if validations is None else validations
    return "\n".join(general_remarks(join(given, [sample.benchmark(*benches)])))


def calm() -> DeviceBench:
    """A machine there is nothing to say about."""
    bench = sample.laptop()
    return dataclasses.replace(
        bench,
        fingerprint=dataclasses.replace(bench.fingerprint, virtual=None),
        measured=tuple(m for m in bench.measured if m.identity.precision == "fp32"),
    )


def test_nothing_is_said_where_there_is_nothing_to_say() -> None:
    assert of_device(calm()) == ""


def test_int8_that_is_slower_is_explained() -> None:
    told = of_device(sample.laptop())
    assert "convnextv2_femto.demo-224-int8.tflite takes 1.10 times as long" in told
    assert "this processor has none of the instructions that multiply bytes fast" in told
    assert "only 71% of its multiply-accumulates are INT8" in told
    assert "in floats, with a conversion on either side: Gelu" in told
    assert "INT8 is slower" not in of_device(sample.pi()), "there it is faster"


def test_nodes_a_delegate_left_are_named() -> None:
    bench = sample.laptop()
    measured = tuple(
        dataclasses.replace(m, backend="XNNPACK, 3 of 41 nodes") if m.identity.target == "tflite" else m
        for m in bench.measured
    )
    assert "the delegate took 3 of 41 nodes" in of_device(dataclasses.replace(bench, measured=measured))


@pytest.mark.parametrize(
    "expected",
    ["Throttled: soft temperature limit", "drifting", "governor is ondemand", "The connection was lost 1 time,",
     "after 10 minutes without a pause tflite int8 took 1.31× [1.30, 1.32] as long"],
)  # fmt: skip
def test_a_hot_board_is_told_about(expected: str) -> None:
    assert expected in of_device(sample.pi())


def test_few_runs_have_no_p90_and_it_is_said() -> None:
    bench = calm()
    short = dataclasses.replace(sample.measured(0, sample.identity("onnx", "fp32"), 20.0, runs=40), id="short")
    assert "Too few runs for a p90, which takes 64: onnx fp32 had 40" in of_device(
        dataclasses.replace(bench, measured=(short,), ratios=())
    )


@pytest.mark.parametrize(("runs", "told"), [((40, 40), "had 40."), ((40, 60), "had 40 or more.")])
def test_several_with_few_runs_had_so_many_or_more_only_where_they_differ(runs: tuple[int, int], told: str) -> None:
    short = tuple(
        dataclasses.replace(sample.measured(0, sample.identity("onnx", p), 20.0, runs=n), id=p)
        for p, n in zip(("fp32", "int8"), runs, strict=True)
    )
    remarks = of_device(dataclasses.replace(calm(), measured=short, ratios=()))
    assert f"{told}\n" in f"{remarks}\n", remarks


def test_two_versions_of_a_runtime_are_noticed() -> None:
    """The validation ran in TFLite 2.3.0; the board has another one."""
    bench = calm()
    m = next(m for m in bench.measured if m.identity.target == "tflite")
    old = dataclasses.replace(m, identity=dataclasses.replace(m.identity, runtime_version="ai-edge-litert 2.1.0"))
    assert "Two versions of a runtime are in these figures: tflite ai-edge-litert 2.1.0 and 2.3.0" in of_device(
        dataclasses.replace(bench, measured=(old,), ratios=())
    )
    same = dataclasses.replace(m, identity=dataclasses.replace(m.identity, runtime_version="ai-edge-litert 2.3.0"))
    assert "Two versions" not in of_device(dataclasses.replace(bench, measured=(same,), ratios=()))


def test_floats_in_another_format_are_told() -> None:
    bench = calm()
    rough = tuple(dataclasses.replace(m, arithmetic="bf16") for m in bench.measured if m.identity.target == "openvino")
    assert "The runtime computes floats in bf16 here, also those of an FP32 file: openvino fp32" in of_device(
        dataclasses.replace(bench, measured=rough, ratios=())
    )


def test_a_tool_that_gives_a_mean_alone_is_told_about() -> None:
    m = calm().measured[0]
    told = ToolTimings(tool="benchmark_model", runs=50, mean=12.3, min=None, max=None, std=None)
    bare = dataclasses.replace(m, model=(), model_summary=None, told=told)
    bench = dataclasses.replace(calm(), measured=(bare,), ratios=())
    assert "benchmark_model gives a mean and no single runs: onnx fp32 cannot be ranked by p50" in of_device(bench)


def test_what_failed_is_named_and_many_failures_are_counted() -> None:
    assert "Not measured to the end: openvino fp16 1T: openvino died with SIGSEGV" in of_device(sample.laptop())
    _, many = sample.many(20)
    (bench,) = many.devices
    broken = tuple(dataclasses.replace(m, error="it died") for m in bench.measured)
    remarks = of_device(dataclasses.replace(bench, measured=broken))
    assert remarks.count("Not measured to the end") == 3
    assert "Nor were 17 more" in remarks


def test_licences_weights_and_calibration() -> None:
    bench = sample.laptop()
    weights = dataclasses.replace(bench.measured[0].weights, kind="imagenet", license="cc-by-nc-4.0")
    bought = dataclasses.replace(bench, measured=tuple(dataclasses.replace(m, weights=weights) for m in bench.measured))
    told = in_general(bought)
    assert "Non-commercial weights (cc-by-nc-4.0): convnextv2_femto.demo must not be used commercially." in told
    assert "3 INT8 files were calibrated on drawn pictures" in told
    assert "Non-commercial" not in in_general(bench)
    assert "Demo weights" in in_general(bench)


def test_undecided_files_and_how_many_pictures_would_do() -> None:
    expected = (
        "Too few pictures to decide about convnextv2_femto.demo-224-int8.xml: 2 000 were run; about 5 200 would do."
    )
    assert expected in in_general(sample.pi()).replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_different_pictures_are_said_to_be_different() -> None:
    validation = sample.validation()
    other = dataclasses.replace(
        validation, artifacts=validation.artifacts[2:], data=dataclasses.replace(validation.data, sha256="5e" * 32)
    )
    first = dataclasses.replace(validation, artifacts=validation.artifacts[:2])
    told = in_general(sample.pi(), validations=(first, other))
    assert "Accuracies come from 2 sets of pictures" in told and "5e5e5e5e5e5e" in told
    assert "sets of pictures" not in in_general(sample.pi())


def test_a_choice_among_several_results_is_told() -> None:
    few = sample.validation()
    few = dataclasses.replace(few, artifacts=tuple(dataclasses.replace(o, pictures=40) for o in few.artifacts[:1]))
    told = in_general(sample.pi(), validations=(sample.validation(), few))
    assert "1 artifact was validated more than once; the validation with the most pictures counts." in told


def test_what_stands_with_a_device_is_not_repeated() -> None:
    made = sample.benchmark(sample.pi())
    made = dataclasses.replace(made, warnings=(*warnings_of(made.devices), "two names lead to one device"))
    told = general_remarks(join([], [made]))
    assert "Two names lead to one device." in told
    assert not [text for text in told if "governor" in text]


def test_a_p90_without_an_interval_is_remarked_on_with_the_reason() -> None:
    bench = calm()
    assert "no interval is given" not in of_device(bench).lower()
    first, *others = bench.measured
    assert first.model_summary is not None
    p90 = percentile(first.model_summary, 0.9)
    assert p90 is not None
    bare = dataclasses.replace(p90, interval=None, no_interval="200 runs tell as much as 31")
    kept = tuple(bare if p.q == 0.9 else p for p in first.model_summary.percentiles)
    summary = dataclasses.replace(first.model_summary, percentiles=kept)
    bench = dataclasses.replace(bench, measured=(dataclasses.replace(first, model_summary=summary), *others))
    told = of_device(bench)
    assert "no interval: 200 runs tell as much as 31" in page(join([], [sample.benchmark(bench)]))
    assert f"of p90 of {first.identity.file}: 200 runs tell as much as 31" in told
