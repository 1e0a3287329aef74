"""A whole benchmark on scripted devices: what is asked of them, what is concluded, and what is refused before."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scripted
from PIL import Image
from schema import benchmark_schema
from support import ROOT

from edgecvx.errors import ArtifactError, DeviceError, EdgecvxError, UsageError
from edgecvx.latency.bench import SCHEMA_FILE, as_json, benchmark, read_json
from edgecvx.latency.devices.collect import Collector
from edgecvx.latency.gates import judge
from edgecvx.latency.warnings import warnings_of
from edgecvx.manifest import manifest_path, read_manifest
from edgecvx.results.latency import Benchmark, GateResult, ToolTimings

if TYPE_CHECKING:
    from small_classifier import Exported

ASSETS = ROOT / "edgecvx" / "assets"


def run(*names: str, latency: scripted.Latency = scripted.steady, **options: Any) -> Benchmark:
    """Artifacts without files, on a device that is scripted."""
    device = scripted.ScriptedDevice(latency=latency, **options)
    gathered = Collector(scripted.job(*names), [scripted.requested(n) for n in names], device=device.name)
    device.measure(scripted.job(*names), gathered, stop=threading.Event())
    return dataclasses.replace(EMPTY, devices=(gathered.result(),))


EMPTY = read_json(
    json.dumps(
        {
            "schema_version": 1,
            "kind": "benchmark",
            "edgecvx": "0",
            "protocol": {
                **{"rounds": 20, "runs": 200, "seconds": None, "end_to_end": False, "memory": False},
                **{"sustained_minutes": 0, "pictures": "demo", "seed": 0},
            },
            "devices": [],
            "gates": [],
            "warnings": [],
        }
    )
)


# What is asked of a device.


def test_the_job_names_nothing_of_the_users(small_classifier: Exported, tmp_path: Path) -> None:
    """The name of a file is the user's business, and may be anything; on a device it has a made-up one."""
    named = tmp_path / "$(reboot) my model"
    named.mkdir()
    for file in (small_classifier.path, manifest_path(small_classifier.path)):
        shutil.copy(file, named)
    device = scripted.ScriptedDevice()
    benchmark(named / small_classifier.path.name, devices=[device], threads=(1, 2), runs=40)
    (job,) = device.jobs
    assert "reboot" not in job.order_bytes.decode()
    assert small_classifier.path.name not in job.order_bytes.decode()
    assert job.files["a0/model.onnx"] == named / small_classifier.path.name
    assert [(a["id"], a["threads"], a["path"]) for a in job.order["artifacts"]] == [
        ("a0", 1, "a0/model.onnx"),
        ("a1", 2, "a0/model.onnx"),
    ]
    arrays = {"inputs/0.npy", "inputs/1.npy"}  # the picture that is timed, and the probes
    assert set(job.files) == {"a0/model.onnx", *arrays, *(f"pictures/{i}.jpg" for i in range(8))}


def test_the_input_is_a_picture_as_the_manifest_prepares_it(small_classifier: Exported, tmp_path: Path) -> None:
    device = scripted.ScriptedDevice()
    benchmark(small_classifier.path, devices=[device])
    content = device.jobs[0].files["inputs/0.npy"]
    assert isinstance(content, bytes)
    (tmp_path / "input.npy").write_bytes(content)
    array = np.load(tmp_path / "input.npy", allow_pickle=False)
    assert (array.shape, array.dtype.name) == ((1, 3, 64, 64), "float32")
    assert 0.2 < array.std() < 3  # normalized pixels of a picture, neither zeros nor raw bytes


def test_the_same_call_asks_for_the_same_bytes(small_classifier: Exported) -> None:
    devices = [scripted.ScriptedDevice() for _ in range(2)]
    for device in devices:
        benchmark(small_classifier.path, devices=[device], seed=3)
    first, second = (device.jobs[0] for device in devices)
    assert first == second


def test_pictures_of_a_folder_are_taken_by_the_seed_and_broken_ones_left_out(
    small_classifier: Exported, tmp_path: Path
) -> None:
    for i in range(12):
        Image.new("RGB", (40, 30), (20 * i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    taken = []
    for seed in (0, 1):
        device = scripted.ScriptedDevice()
        assert benchmark(small_classifier.path, devices=[device], data=tmp_path, seed=seed).protocol.pictures
        taken.append({name: c for name, c in device.jobs[0].files.items() if name.startswith("pictures/")})
    assert [len(pictures) for pictures in taken] == [8, 8]
    assert taken[0] != taken[1]
    assert all((tmp_path / "broken.png").read_bytes() not in pictures.values() for pictures in taken)


def test_a_runtime_is_measured_with_each_choice_of_options(small_classifier: Exported) -> None:
    device = scripted.ScriptedDevice()
    choices = ["onnxruntime", "onnxruntime:provider=XnnpackExecutionProvider"]
    result = benchmark(small_classifier.path, devices=[device], runtimes=choices)
    assert [a["options"] for a in device.jobs[0].order["artifacts"]] == [{}, {"provider": "XnnpackExecutionProvider"}]
    assert [dict(m.options) for m in result.devices[0].measured] == [{}, {"provider": "XnnpackExecutionProvider"}]


def test_fewer_runs_than_rounds_are_a_round_each(small_classifier: Exported) -> None:
    result = benchmark(small_classifier.path, devices=[scripted.ScriptedDevice()], runs=5)
    assert (result.protocol.rounds, result.protocol.runs) == (5, 5)


# What is refused before anything is measured.


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"runs": 0}, "--runs 0 does not work"),
        ({"runs": 10**9}, "--runs 1e.09 does not work"),
        ({"runs": 10, "seconds": 1.0}, "exclude each other"),
        ({"seconds": float("nan")}, "--seconds nan does not work"),
        ({"rounds": 0}, "--rounds 0 does not work"),
        ({"rounds": 10_000}, "--rounds 10000 does not work: it must be from 1 to 1000"),
        ({"threads": (0,)}, "0 threads do not work"),
        ({"threads": (100_000,)}, "100000 threads do not work: it must be from 1 to 256"),
        ({"sustained_minutes": -1}, "--sustained -1 does not work"),
        ({"devices": ["telnet://board"]}, "unknown device 'telnet://board'"),
        ({"devices": ["ssh://"]}, "unknown device 'ssh://'"),
        ({"devices": ["local", "local"]}, "one twice"),
        ({"runtimes": ["ncnn"]}, "unknown runtime 'ncnn'"),
        ({"runtimes": ["tflite"]}, "opens none of the artifacts"),
        ({"runtimes": ["onnxruntime:providers=x"]}, "unknown option of onnxruntime 'providers'"),
        ({"runtimes": ["tflite:delegate=gpu"]}, "unknown delegate 'gpu'"),
        ({"runtimes": ["tflite:delegate"]}, "it takes KEY=VALUE"),
        ({"runtimes": ["tflite:delegate=none,delegate=xnnpack"]}, "says delegate twice"),
        ({"max_ratio": 1.0}, "--max-ratio and --against go together"),
        ({"max_p50": -1.0}, "--max-p50 -1 does not work"),
        ({"max_p50": float("nan")}, "--max-p50 nan does not work"),
        ({"data": "nowhere"}, "nowhere: cannot be listed"),
        ({"data": ""}, "an empty path names no folder"),
        ({"adb_benchmark": "nope"}, "--adb-benchmark nope goes with a device adb://SERIAL"),
    ],
)
def test_a_request_that_makes_no_sense_is_one_sentence(
    small_classifier: Exported, options: dict[str, Any], why: str
) -> None:
    device = scripted.ScriptedDevice()
    with pytest.raises(EdgecvxError, match=why):
        benchmark(small_classifier.path, **{"devices": [device], **options})
    assert device.jobs == []


def test_a_damaged_artifact_is_refused(small_classifier: Exported, tmp_path: Path) -> None:
    for file in (small_classifier.path, manifest_path(small_classifier.path)):
        shutil.copy(file, tmp_path)
    with (tmp_path / small_classifier.path.name).open("r+b") as stream:
        stream.write(b"x")
    with pytest.raises(ArtifactError, match="has another SHA-256"):
        benchmark(tmp_path / small_classifier.path.name, devices=[scripted.ScriptedDevice()])


def test_core_ml_off_a_mac_is_refused(
    small_classifier: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What computes these files here is a reference executor: right, and of no speed worth a number."""
    manifest = json.loads(manifest_path(small_classifier.path).read_text())
    shutil.copy(small_classifier.path, tmp_path)
    path = tmp_path / small_classifier.path.name
    manifest_path(path).write_text(json.dumps({**manifest, "runtime": "coreml"}))
    assert read_manifest(path).runtime == "coreml"
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UsageError, match="off a Mac, Core ML files are computed by a reference executor"):
        benchmark(path, devices=["local"])


def test_there_is_no_ratio_between_different_batches(small_classifier: Exported, tmp_path: Path) -> None:
    manifest = json.loads(manifest_path(small_classifier.path).read_text())
    shutil.copy(small_classifier.path, tmp_path)
    path = tmp_path / small_classifier.path.name
    manifest["input"]["shape"][0] = 8
    manifest["files"][0]["sha256"] = _rewritten(path)
    manifest["files"][0]["bytes"] = path.stat().st_size
    manifest_path(path).write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="there is no ratio between different batches"):
        benchmark([small_classifier.path], devices=["local"], max_ratio=1.0, against=path)


def _rewritten(path: Path) -> str:
    """Another file of the same network: its hash."""
    path.write_bytes(path.read_bytes() + b"\0")
    return hashlib.sha256(path.read_bytes()).hexdigest()


# What goes wrong on the way.


def test_a_device_that_fails_stops_no_other(small_classifier: Exported) -> None:
    devices = [scripted.ScriptedDevice("good"), scripted.ScriptedDevice("bad", fails_after=9)]
    result = benchmark(small_classifier.path, devices=devices)
    assert [d.error for d in result.devices] == [None, "bad: the cable came loose"]
    assert result.devices[1].measured[0].model  # what was measured until then is kept
    assert result.exit_code == 2


def test_where_nothing_could_be_measured_the_reason_is_raised(small_classifier: Exported) -> None:
    with pytest.raises(DeviceError, match="bad: the cable came loose"):
        benchmark(small_classifier.path, devices=[scripted.ScriptedDevice("bad", fails_after=0)])


def test_a_bug_in_a_device_is_no_measurement(small_classifier: Exported) -> None:
    def broken(artifact: str, round_: int, run: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        benchmark(small_classifier.path, devices=[scripted.ScriptedDevice(latency=broken)])


# What is concluded.


def test_a_planted_outlier_stays_visible() -> None:
    def latency(artifact: str, round_: int, run: int) -> int:
        return 80_000_000 if (round_, run) == (7, 3) else 1_000_000

    (measured,) = run("a0", latency=latency).devices[0].measured
    assert measured.model_summary is not None
    assert measured.model_summary.max == 80.0
    assert measured.model[7].samples_ns[3] == 80_000_000
    assert measured.model_summary.percentiles[0].ms == 1.0


def test_different_batches_are_in_no_ratio() -> None:
    requested = [scripted.requested("a0"), scripted.requested("a1", batch=8)]
    gathered = Collector(scripted.job("a0", "a1"), requested, device="local")
    for event in scripted.events(scripted.order("a0", "a1")):
        gathered.add(event)
    result = gathered.result()
    assert result.ratios == ()
    one, eight = (m.model_summary.per_second for m in result.measured if m.model_summary is not None)
    assert eight == pytest.approx(8 * one)


def gates(result: Benchmark, **limits: Any) -> tuple[GateResult, ...]:
    wanted = {"max_p50": None, "max_ratio": None, "against": None, **limits}
    return judge(result.devices[0], **wanted)


def test_a_slow_down_of_five_percent_fails_a_gate() -> None:
    """A machine with drift, a drop of its clock and heavy tails; the file itself is 5% slower, and the limit is 2%."""
    result = run("a0", "a1", latency=scripted.noisy({"a1": 1.05}, seed=1, spread=0.01))
    (gate,) = gates(result, max_ratio=1.02, against="a0" * 8)
    assert gate.verdict == "fail"
    assert gate.value == pytest.approx(1.05, abs=0.02)
    assert dataclasses.replace(result, gates=(gate,)).exit_code == 1


def test_a_file_against_itself_passes_where_the_noise_allows_it() -> None:
    result = run("a0", "a1", latency=scripted.noisy({}, seed=2, spread=0.005))
    (gate,) = gates(result, max_ratio=1.02, against="a0" * 8)
    assert gate.verdict == "pass"
    assert gate.interval is not None
    assert gate.interval.low < 1 < gate.interval.high


def test_an_interval_that_straddles_the_limit_is_undecided_and_says_what_would_decide() -> None:
    result = run("a0", "a1", latency=scripted.noisy({"a1": 1.02}, seed=3, spread=0.05))
    (relative,) = gates(result, max_ratio=1.02, against="a0" * 8)
    assert relative.verdict == "undecided"
    assert "rounds" in relative.sentence
    summary = result.devices[0].measured[0].model_summary
    assert summary is not None
    absolute = gates(result, max_p50=summary.percentiles[0].ms * 1.01)
    assert absolute[0].verdict == "undecided"
    assert "runs would decide (--runs)" in absolute[0].sentence
    assert dataclasses.replace(result, gates=(relative,)).exit_code == 1


@pytest.mark.parametrize(("limit", "verdict"), [(1.5, "pass"), (0.5, "fail")])
def test_an_absolute_limit_is_held_against_the_whole_interval(limit: float, verdict: str) -> None:
    (gate,) = gates(run("a0"), max_p50=limit)
    assert (gate.kind, gate.verdict, gate.measured) == ("max_p50", verdict, "a0")


def test_a_limit_that_nothing_is_held_against_is_undecided() -> None:
    """A tool that tells a mean and no runs, or a device that was lost before the first: no gate passes unseen."""
    result = run("a0", "a1")
    silent = tuple(dataclasses.replace(m, model=(), model_summary=None) for m in result.devices[0].measured)
    device = dataclasses.replace(result.devices[0], measured=silent, ratios=())
    result = dataclasses.replace(result, devices=(device,))
    found = gates(result, max_p50=1.0, max_ratio=2.0, against="a0" * 8)
    assert [(g.kind, g.verdict) for g in found] == [("max_p50", "undecided")] * 2 + [("max_ratio", "undecided")]
    assert all("there are no runs" in g.sentence for g in found)


def test_a_mean_is_no_median() -> None:
    (device,) = run("a0").devices
    told = ToolTimings(tool="benchmark_model", runs=50, mean=0.5, min=None, max=None, std=None)
    silent = tuple(dataclasses.replace(m, model=(), model_summary=None, told=told) for m in device.measured)
    (gate,) = judge(dataclasses.replace(device, measured=silent), max_p50=1.0, max_ratio=None, against=None)
    assert gate.verdict == "undecided"
    assert "benchmark_model tells a mean and no single runs" in gate.sentence


def test_a_ratio_is_to_the_file_under_equal_options() -> None:
    """With the other file in XNNPACK and in plain kernels, plain kernels are held against plain kernels."""
    (device,) = run("a0", "a1", "a2").devices
    base, other, plain = device.measured
    same: dict[str, Any] = {"identity": base.identity, "options": {"delegate": "none"}}
    measured = (base, dataclasses.replace(other, **same), dataclasses.replace(plain, options={"delegate": "none"}))
    found = judge(
        dataclasses.replace(device, measured=measured), max_p50=None, max_ratio=1.5, against=base.identity.sha256
    )
    assert [(g.measured, g.against) for g in found] == [("a2", "a1")]


def test_a_time_on_an_emulator_decides_nothing() -> None:
    result = run("a0", "a1", fingerprint={"emulated": "qemu"})
    found = gates(result, max_p50=1000.0, max_ratio=5.0, against="a0" * 8)
    assert {g.verdict for g in found} == {"undecided"}
    assert all("EMULATED (qemu)" in g.sentence and g.value is None for g in found)
    assert any("EMULATED (qemu)" in warning for warning in warnings_of(result.devices))


# What a reader is warned of.


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"conditions": {"governor": "schedutil"}}, "the frequency governor is schedutil, not performance"),
        ({"conditions": {"throttled": ["under-voltage now"]}}, "throttled: under-voltage now"),
        ({"conditions": {"load": 3.5}}, "a load average of 3.5 on 4 cores"),
        ({"fingerprint": {"virtual": "kvm"}}, "a virtual machine (kvm)"),
        ({"fingerprint": {"cores": 0}}, "1 threads on 0 cores"),
    ],
)
def test_what_makes_times_doubtful_is_told(changes: dict[str, Any], warning: str) -> None:
    assert warnings_of(run("a0").devices) == ()
    assert any(warning in told for told in warnings_of(run("a0", **changes).devices))


def test_fewer_threads_than_were_given_are_told() -> None:
    """OpenVINO takes no more than there are cores: a row of 8 threads would hold the times of 2."""
    (device,) = run("a0").devices
    (measured,) = device.measured
    assert measured.threads_told == 1
    given = dataclasses.replace(measured, threads=4, threads_told=2)
    assert warnings_of([dataclasses.replace(device, measured=(given,))]) == (
        "scripted: tflite took 2 threads where 4 were given",
    )


def test_a_delegate_that_took_nothing_is_told() -> None:
    (device,) = run("a0").devices
    (measured,) = device.measured
    asked = dataclasses.replace(measured, options={"delegate": "xnnpack"}, backend="plain kernels, 9 nodes")
    (told,) = warnings_of([dataclasses.replace(device, measured=(asked,))])
    assert "was to run in XNNPACK, which took none of it" in told


def test_int8_that_is_slower_is_told_with_what_is_known_about_why() -> None:
    requested = [scripted.requested("a0"), scripted.requested("a1", precision="int8")]
    device = scripted.ScriptedDevice(latency=scripted.noisy({"a1": 1.5}, seed=0), fingerprint={"features": []})
    gathered = Collector(scripted.job("a0", "a1"), requested, device=device.name)
    device.measure(scripted.job("a0", "a1"), gathered, stop=threading.Event())
    told = [w for w in warnings_of([gathered.result()]) if "INT8 is slower here" in w]
    assert len(told) == 1
    assert "none of the instructions that multiply bytes fast (asimddp, i8mm)" in told[0]
    assert "only 50% of its multiply-accumulates are INT8" in told[0]


def test_int8_that_gains_nothing_is_told_with_the_form_that_gains() -> None:
    """As on x86 without VNNI: TFLite's INT8 takes as long as its FP32 there, other runtimes' does not."""
    requested = [scripted.requested(f"a{i}", precision=precision) for i, precision in enumerate(["fp32", "int8"] * 2)]
    requested[2:] = [
        dataclasses.replace(e, identity=dataclasses.replace(e.identity, file=f"{e.id}.xml", runtime="openvino"))
        for e in requested[2:]
    ]
    latency = scripted.noisy({"a1": 1.0, "a2": 1.2, "a3": 0.84}, seed=0, spread=0.005)
    device = scripted.ScriptedDevice(latency=latency, fingerprint={"machine": "x86_64", "features": ["avx2"]})
    names = [e.id for e in requested]
    gathered = Collector(scripted.job(*names), requested, device=device.name)
    device.measure(scripted.job(*names), gathered, stop=threading.Event())
    (told,) = (w for w in warnings_of([gathered.result()]) if "INT8" in w)
    assert told.startswith("scripted: a1-int8.tflite takes ") and "INT8 gains nothing here" in told
    assert "none of the instructions that multiply bytes fast (avx512_vnni" in told
    assert told.endswith("; a3.xml gains, in openvino: 0.70 times the time of its FP32 file")


def test_one_machine_under_two_names_is_told() -> None:
    devices = (*run("a0").devices, *run("a0").devices)
    assert any("one and the same device" in w for w in warnings_of(devices))


# The JSON.


def test_the_json_holds_everything_and_comes_back() -> None:
    result = run("a0", "a1", latency=scripted.noisy({}, seed=0))
    result = dataclasses.replace(result, gates=gates(result, max_p50=1.0), warnings=("careful",))
    assert read_json(as_json(result)) == result


@pytest.mark.parametrize("name", ["a[  1,  2 ].onnx", "\udcff.onnx", "ä\n[\n 1\n].onnx"])
def test_the_json_changes_no_name_and_can_be_written(name: str) -> None:
    """Lists of times take a line; what looks like one in a name stays. Not every name is UTF-8."""
    (device,) = (result := run("a0")).devices
    (measured,) = device.measured
    named = dataclasses.replace(measured, identity=dataclasses.replace(measured.identity, file=name))
    result = dataclasses.replace(result, devices=(dataclasses.replace(device, measured=(named,)),))
    assert read_json(as_json(result).encode().decode()) == result


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not the JSON of a benchmark"),
        ("[" * 100_000, "not the JSON of a benchmark"),
        ("[]", "a benchmark of version None"),
        ('{"schema_version": 2}', "a benchmark of version 2, this edgecvx reads version 1"),
        ('{"schema_version": 1, "kind": "validation"}', "missing"),
    ],
)
def test_other_json_is_refused(text: str, why: str) -> None:
    with pytest.raises(EdgecvxError, match=why):
        read_json(text)


def test_the_schema_that_ships_is_the_one_of_the_code() -> None:
    """``python tools/schema.py`` writes it anew."""
    assert (ASSETS / SCHEMA_FILE).read_text(encoding="utf-8") == benchmark_schema()


def test_benchmarks_follow_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(benchmark_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = json.loads(as_json(run("a0", "a1")))
    validator.validate(good)
    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda b: b.update(schema_version=2),
        lambda b: b.pop("devices"),
        lambda b: b["devices"][0]["fingerprint"].update(cores="four"),
        lambda b: b["devices"][0]["measured"][0]["model"][0].update(samples_ns=[1.5]),
        lambda b: b["devices"][0].update(surprise=1),
    ]
    for change in changes:
        bad = json.loads(as_json(run("a0")))
        change(bad)
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(bad)
