"""Phones behind adb, played: an ``adb`` on PATH that runs its shell here, and a tool that plays recorded output.

What a real phone prints was taken from public logs; none was at hand.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from proofs import a_proof
from waiting import PATIENCE, wait_for_end, wait_until

from edgecvx.errors import DeviceError, UsageError
from edgecvx.latency.devices import adb, android, benchmark_model
from edgecvx.latency.devices.adb import BINARY_VARIABLE, AdbDevice, open_device
from edgecvx.latency.devices.collect import Collector
from edgecvx.latency.devices.job import Job
from edgecvx.results.accuracy import ArtifactIdentity
from edgecvx.results.latency import Measured
from edgecvx.spec import Task, WeightsSource, to_json

RECORDED = """STARTING!
Log parameter values verbosely: [0]
Num threads: [4]
Graph: [/data/local/tmp/edgecvx-1/a0.tflite]
#threads used for CPU inference: [4]
Loaded model /data/local/tmp/edgecvx-1/a0.tflite
INFO: Initialized TensorFlow Lite runtime.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
VERBOSE: Replacing 58 out of 60 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 3 partitions for the graph.
The input model file size (MB): 0.004448
Initialized session in 0.855ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450 p5=32700 median=33200 p95=33900

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory.
Memory footprint delta from the start of the tool (MB): init=2.5 overall=12.25
Overall peak memory footprint (MB) via periodic monitoring: 25.5
"""
PROPS = """[ro.product.manufacturer]: [Example]
[ro.product.model]: [Phone 9]
[ro.product.cpu.abi]: [arm64-v8a]
[ro.soc.model]: [EX9000]
[ro.build.version.release]: [14]
[ro.serialno]: [0123456789]
"""
THERMAL = """IsStatusOverride: false
Thermal Status: 1
Cached temperatures:
	Temperature{mValue=70.0, mType=0, mName=CPU0, mStatus=0}
Current temperatures from HAL:
	Temperature{mValue=36.5, mType=0, mName=CPU0, mStatus=0}
	Temperature{mValue=-99.9, mType=6, mName=PA, mStatus=0}
Current cooling devices from HAL:
"""
ADB = """#!/bin/sh
[ "$1" = -s ] && [ "$2" = ABC123 ] || { echo "error: device '$2' not found"; exit 1; }
here=${0%/*}; shift 2
there() { printf %s "$1" | sed "s#/data/local/tmp#$here/tmp#g"; }
case $1 in
get-state) cat "$here/state"; grep -q ^device "$here/state";;
push) to=$(there "$3"); cp "$2" "$to"; case $to in */benchmark_model) cp "$here/player" "$to";; esac;;
shell) HERE=$here PATH="$here/phone:$PATH" sh -c "$(there "$2")";;
esac
"""
PLAYER = """#!/bin/sh
echo "$*" >>"$HERE/calls"
while [ -e "$HERE/hold" ]; do sleep 0.05; done
cat "$HERE/recorded"
"""
AARCH64 = b"\x7fELF" + bytes(14) + (183).to_bytes(2, "little") + bytes(44)


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A phone that plays ``RECORDED``; the folder holds what it is made of."""
    here = tmp_path / "adb"
    (here / "phone").mkdir(parents=True)
    (here / "tmp").mkdir()
    commands = {"getprop": PROPS, "uname": "aarch64\n", "nproc": "8\n"}
    for name, text in commands.items():
        (here / "phone" / f"{name}.txt").write_text(text)
    played = {name: f'#!/bin/sh\ncat "$HERE/phone/{name}.txt"\n' for name in commands}
    (here / "phone" / "thermal.txt").write_text(THERMAL)
    dumpsys = '#!/bin/sh\n[ $1 = thermalservice ] && cat "$HERE/phone/thermal.txt"\n'
    for path, text in {
        here / "adb": ADB,
        here / "player": PLAYER,
        here / "phone" / "dumpsys": dumpsys,
        **{here / "phone" / name: text for name, text in played.items()},
    }.items():
        path.write_text(text)
        path.chmod(0o755)
    (here / "state").write_text("device\n")
    (here / "recorded").write_text(RECORDED)
    (here / "binary").write_bytes(AARCH64)
    monkeypatch.setenv("PATH", f"{here}{os.pathsep}{os.environ['PATH']}")
    return here


def job(first: str = "tflite") -> Job:
    """Two files, the second a TFLite one."""
    artifacts = [
        {"id": i, "runtime": runtime, "path": f"{i}/model", "threads": 4, "options": {}}
        for i, runtime in (("a0", first), ("a1", "tflite"))
    ]
    asked = {"runs": 100, "seconds": None, "rounds": 2, "first_round": 0, "memory": True, "end_to_end": True}
    rest = {"artifacts": artifacts, "sustained_minutes": 0, "patience_seconds": PATIENCE}
    return Job(order={**asked, **rest}, files={"a0/model": b"one", "a1/model": b"two"})


def requested(id_: str) -> Measured:
    identity = ArtifactIdentity(
        file=f"{id_}.tflite",
        sha256="0" * 64,
        bytes=5,
        model="m",
        task=Task.CLASSIFY,
        target="tflite",
        format="tflite",
        precision="fp32",
        runtime="tflite",
        runtime_version=None,
    )
    weights = WeightsSource(kind="random", ref="0", layout="timm", sha256="0" * 64)
    unknown: dict[str, Any] = dict.fromkeys(("calibration", "fp32_bytes", "int8_share", "backend", "arithmetic"))
    return Measured(
        id=id_, identity=identity, weights=weights, kept_float={}, batch=1, threads=4, options={}, **unknown
    )


def left_on(phone: Path) -> list[str]:
    """Beside the lock, which has to lie where everybody finds it."""
    return [path.name for path in (phone / "tmp").iterdir() if path.name != "edgecvx-lease"]


def measure(phone: Path, asked: Job | None = None) -> Collector:
    """A whole measurement, after which the phone is as it was."""
    asked = asked or job()
    collector = Collector(asked, [requested(a["id"]) for a in asked.order["artifacts"]], device="adb://ABC123")
    try:
        open_device("adb://ABC123", adb_benchmark=str(phone / "binary")).measure(
            asked, collector, stop=threading.Event()
        )
    finally:
        assert left_on(phone) == []
    return collector


def test_the_whole_way(phone: Path) -> None:
    result = measure(phone).result()
    assert result.error is None
    first = result.measured[0]
    assert first.told is not None
    assert (first.told.runs, first.told.means) == (100, (33.2094, 33.2094))
    assert (first.load_ns, first.first_ns) == (855_000, 49_060_000)
    assert first.backend == "XNNPACK, 58 of 60 nodes"
    assert first.memory is not None
    assert (first.memory.model, first.memory.peak) == (int(12.25 * 2**20), int(25.5 * 2**20))
    assert first.model == ()  # no single runs are made up from a mean
    assert "no end to end" in str(first.end_to_end_note)
    assert result.fingerprint.board == "Example Phone 9"
    assert (result.fingerprint.soc, result.fingerprint.os, result.fingerprint.cores) == ("EX9000", "Android 14", 8)
    assert result.fingerprint.memory_bytes == psutil.virtual_memory().total  # its /proc is this machine's
    assert 0 < (result.before.memory_available_bytes or 0) < psutil.virtual_memory().total
    assert result.before.celsius == {"CPU0": 36.5}
    assert result.before.throttled == ("thermal status light",)


def test_a_file_that_was_proved_elsewhere_cannot_be_asked_again(phone: Path) -> None:
    """The tool takes no pictures and tells no answers: that is said, and nothing is made up."""
    proof = to_json(a_proof((), "tflite"))
    elsewhere = proof | {"processor": proof["processor"] | {"kind": "AMX"}}
    both = [
        artifact | {"proved": {"proof": elsewhere, "probes": "x", "limit": 0.01, "remedy": "-"}}
        for artifact in job().order["artifacts"]
    ]
    first = measure(phone, job().with_order(artifacts=both)).result().measured[0]
    assert first.recheck is not None and (first.recheck.proved, first.recheck.error) == ("AMX", None)
    assert "so it was not checked again" in first.recheck.sentence
    assert first.told is not None


@pytest.mark.parametrize(
    ("machine", "features", "kind"),
    [
        ("aarch64", ["asimd", "asimddp"], "dotprod"),
        ("x86_64", ["sse4_2", "avx2"], "AVX2"),  # an emulator's
        ("aarch64", None, None),
        ("armv8l", [], None),
    ],
)
def test_a_phone_is_of_a_class_of_processors_too(machine: str, features: list[str] | None, kind: str | None) -> None:
    assert adb._kind({"machine": machine, "features": features}) == kind


def test_files_take_turns_and_memory_has_calls_of_its_own(phone: Path) -> None:
    measure(phone)
    calls = (phone / "calls").read_text().splitlines()
    graphs = [call.split("/")[-1].split(".tflite")[0] for call in calls]
    assert graphs == ["a0", "a1", *("a0", "a1"), *("a1", "a0")]
    assert ["--report_peak_memory_footprint=true" in call for call in calls] == [True] * 2 + [False] * 4
    assert all("--num_threads=4 --num_runs=50 --min_secs=0" in call for call in calls[2:])


def test_a_call_may_take_as_long_as_its_runs(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And as the tool itself is given: a phone is not given up before its tool is."""
    allowed: list[float] = []
    shell = adb._Phone.shell

    def watched(self: adb._Phone, script: str, *, limit: float = 60, check: bool = True) -> tuple[int, str]:
        allowed.extend([limit] if "--graph" in script else [])
        return shell(self, script, limit=limit, check=check)

    monkeypatch.setattr(adb._Phone, "shell", watched)
    measure(phone, job().with_order(runs=1000, rounds=1))
    assert min(allowed) > 1000
    assert "--num_runs=1000 --min_secs=0 --max_secs=10000" in (phone / "calls").read_text()


def test_what_is_no_tflite_file_is_told_and_stops_no_other(phone: Path) -> None:
    result = measure(phone, job("onnxruntime")).result()
    assert "measures .tflite files alone" in str(result.measured[0].error)
    assert result.measured[1].told is not None


def test_a_tool_that_fails_is_one_sentence(phone: Path) -> None:
    (phone / "recorded").write_text("STARTING!\nERROR: Didn't find op for builtin opcode 'CONV_2D' version '9'\n")
    result = measure(phone).result()
    assert "printed no times: ERROR: Didn't find op" in str(result.measured[0].error)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n", "allow USB debugging"),
        ("error: device offline\n", "offline"),
        ("error: device 'ABC123' not found\n", "`adb devices` lists those"),
        ("recovery\n", "not ready: recovery"),
    ],
)
def test_a_phone_that_is_not_ready(phone: Path, state: str, sentence: str) -> None:
    (phone / "state").write_text(state)
    with pytest.raises(DeviceError, match=sentence):
        measure(phone)


def test_stopping_ends_what_runs_there(phone: Path) -> None:
    (phone / "hold").touch()
    asked, stop = job(), threading.Event()
    collector = Collector(asked, [requested("a0"), requested("a1")], device="adb://ABC123")
    work = threading.Thread(
        target=lambda: AdbDevice("adb://ABC123", "ABC123", phone / "binary").measure(asked, collector, stop=stop)
    )
    work.start()
    wait_until(lambda: list((phone / "tmp").glob("*/pid")) or not work.is_alive(), "the tool runs")
    assert work.is_alive()
    stop.set()
    work.join()
    assert left_on(phone) == []


def test_a_binary_for_another_processor_is_told(phone: Path) -> None:
    (phone / "binary").write_bytes(AARCH64[:18] + (62).to_bytes(2, "little") + bytes(44))
    with pytest.raises(DeviceError, match="binary is for x86_64, the phone is arm64-v8a"):
        measure(phone)
    (phone / "binary").write_text("#!/bin/sh\n" * 9)
    with pytest.raises(DeviceError, match="no program for Android"):
        measure(phone)


def test_without_adb_or_a_binary(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)
    with pytest.raises(UsageError, match=rf"--adb-benchmark FILE or {BINARY_VARIABLE}"):
        open_device("adb://ABC123")
    for bad in ("adb://-s", "adb://a b", "adb://", "phone"):
        with pytest.raises(UsageError, match="adb://SERIAL"):
            open_device(bad, adb_benchmark="x")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DeviceError, match="no adb on this machine's PATH"):
        measure(phone)


# What the tool prints.


def test_the_runs_that_count_are_the_last_phase() -> None:
    found = benchmark_model.parse(RECORDED)
    assert (found.count, found.mean, found.min, found.max, found.std) == (50, 33209.4, 32641, 34005, 450)


def test_a_phase_of_one_run_and_large_numbers() -> None:
    one = benchmark_model.parse(
        "count=1 curr=3512391\ncount=1 curr=2990275\n"
        "Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3e+06, Inference (avg): 3e+06"
    )
    assert (one.count, one.mean, one.min, one.max, one.std, one.backend) == (1, 2990275, 2990275, 2990275, 0, None)
    many = benchmark_model.parse(
        "count=50 first=2990275 curr=2913402 min=2727568 max=3189954 avg=2.95034e+06 std=109798\n"
        "Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3e+06, Inference (avg): 3e+06"
    )
    assert many.mean == 2950340


def test_rounds_add_up_as_their_runs_would() -> None:
    """Against the runs themselves: mean and spread of all of them."""
    samples = [[10.0, 12.0, 17.0], [20.0, 26.0]]
    rounds = [
        benchmark_model.Round(
            count=len(s),
            mean=sum(s) / len(s),
            min=min(s),
            max=max(s),
            std=math.sqrt(sum((x - sum(s) / len(s)) ** 2 for x in s) / len(s)),
            load=1,
            first=1,
            backend=None,
            memory=benchmark_model.parse(RECORDED).memory,
        )
        for s in samples
    ]
    told, flat = benchmark_model.summarize(rounds), [x for s in samples for x in s]
    mean = sum(flat) / len(flat)
    assert told.mean == pytest.approx(mean / 1e3)
    assert told.std == pytest.approx(math.sqrt(sum((x - mean) ** 2 for x in flat) / len(flat)) / 1e3)
    assert (told.min, told.max, told.runs) == (0.01, 0.026, 5)


@pytest.mark.parametrize("number", ["1.2.3", ".", "9" * 5000, "1e999"])
def test_numbers_that_are_none_are_told_in_a_sentence(phone: Path, number: str) -> None:
    (phone / "recorded").write_text(RECORDED.replace("avg=33209.4", f"avg={number}").replace("curr=", "now="))
    (phone / "phone" / "thermal.txt").write_text(
        THERMAL.replace("36.5", number).replace("Status: 1", f"Status: {number}")
    )
    result = measure(phone).result()
    assert "benchmark_model printed " in str(result.measured[0].error)
    assert result.before.celsius is None


def test_a_phone_that_prints_without_end_is_given_up(phone: Path) -> None:
    """And so is what adb has started: it would fill the disk of this machine."""
    played, printing = phone / "phone" / "getprop", phone / "pid"
    played.write_text(f"#!/bin/sh\necho $$ > {shlex.quote(str(printing))}\nexec yes\n")
    with pytest.raises(DeviceError, match="prints without end"):
        measure(phone)
    with contextlib.suppress(psutil.NoSuchProcess):
        left = psutil.Process(int(printing.read_text()))
        wait_for_end([left])


def test_a_phone_that_tells_nothing_is_unknown() -> None:
    unknown = android.fingerprint({}, "ABC123")
    assert {key for key, value in unknown.items() if value} == {"id", "machine"}
    assert unknown["machine"] == "unknown"
    silent = android.conditions({"thermal": "Can't find service: thermalservice", "khz": "cat: Permission denied"})
    assert {key for key, value in silent.items() if value is not None} == {"at"}
