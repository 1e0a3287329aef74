"""What a device tells becomes a benchmark, event by event; what does not fit is refused; what was cut goes on."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import scripted

from edgecvx.errors import DeviceError, UsageError
from edgecvx.latency.devices.collect import At, Collector
from edgecvx.latency.devices.job import Job


def collector(job: Job, *names: str, **options: Any) -> Collector:
    return Collector(job, [scripted.requested(name) for name in names], device="ssh://board", **options)


TOLD = {"tool": "benchmark_model", "runs": 50, "mean": 12.5, "min": 12.0, "max": None, "std": None}


OPENED = {
    "event": "opened",
    "id": "a0",
    "load_ns": 1,
    "first_ns": 1,
    **dict.fromkeys(("runtime_version", "backend", "arithmetic")),
}


def told(job: Job, *names: str) -> Collector:
    gathered = collector(job, *names)
    for event in scripted.events(job.order):
        gathered.add(event)
    return gathered


def test_every_run_is_in_the_result_in_its_order() -> None:
    result = told(scripted.job("a0", "a1", memory=True), "a0", "a1").result()
    first = result.measured[0]
    assert [t.round for t in first.model] == list(range(20))
    assert first.model[3].samples_ns == tuple(scripted.steady("a0", 3, run) for run in range(10))
    assert (first.load_ns, first.first_ns, first.backend) == (5_000_000, 3_000_000, "XNNPACK, 1 of 1 nodes")
    assert first.identity.runtime_version == "2.3.0"
    assert first.warm_up is not None
    assert first.memory is not None
    assert first.model_summary is not None
    assert first.model_summary.samples == 200
    assert (result.ratios[0].of, result.ratios[0].against, result.ratios[0].value) == ("a1", "a0", 1.0)
    assert result.noise is not None
    assert (result.fingerprint.name, result.fingerprint.board) == ("ssh://board", "A board")
    assert result.after is not None
    assert (result.error, result.interruptions) == (None, 0)


def test_the_error_of_one_artifact_is_its_own() -> None:
    gathered = told(scripted.job("a0", "a1"), "a0", "a1")
    gathered.add({"event": "error", "id": "a1", "sentence": "tflite died with SIGSEGV while opening the file"})
    result = gathered.result()
    assert [m.error for m in result.measured] == [None, "tflite died with SIGSEGV while opening the file"]
    assert result.error is None


def test_what_another_tool_told_and_what_is_missing_have_their_place() -> None:
    gathered = told(scripted.job("a0"), "a0")
    gathered.add({"event": "told", "id": "a0", "told": TOLD})
    gathered.add({"event": "note", "id": "a0", "kind": "end_to_end", "sentence": "Pillow is not installed"})
    (measured,) = gathered.result().measured
    assert measured.told is not None
    assert (measured.told.mean, measured.end_to_end_note) == (12.5, "Pillow is not installed")


def test_a_device_that_never_spoke_has_a_result_too() -> None:
    result = collector(scripted.job("a0"), "a0").result("the host is down")
    assert (result.error, result.fingerprint.machine, result.before.load) == ("the host is down", "unknown", None)
    assert (result.measured[0].model, result.noise, result.ratios) == ((), None, ())


def test_progress_is_told_in_words() -> None:
    job, seen = scripted.job("a0"), list[At]()
    gathered = collector(job, "a0", tell=seen.append)
    for event in scripted.events(job.order):
        gathered.add(event)
    assert seen[0].doing == "warming up a0-fp32.tflite"
    assert [at.round for at in seen if at.doing == "rounds"] == list(range(1, 21))
    assert seen[-1].doing == "done"


# After a cut.


def cut(job: Job, names: tuple[str, ...], after: str, times: int = 1, **options: Any) -> Collector:
    """A device that was lost right after the n-th event of a kind."""
    gathered = collector(job, *names, **options)
    for event in scripted.events(job.order):
        gathered.add(event)
        times -= event["event"] == after
        if not times:
            break
    return gathered


def test_what_is_left_begins_with_the_round_that_was_cut() -> None:
    names = ("a0", "a1")
    gathered = cut(scripted.job(*names, memory=True), names, "turn", times=2 * 7 + 1)
    left = gathered.rest()
    assert left is not None
    assert left.order["first_round"] == 7
    assert left.order["skip"] == {name: ["memory", "sustained"] for name in names}
    for event in scripted.events(left.order):
        gathered.add(event)
    result = gathered.result()
    assert gathered.rest() is None
    assert result.interruptions == 1
    rounds = [sorted(t.round for t in m.model) for m in result.measured]
    assert rounds == [list(range(20)), sorted([*range(20), 7])]  # a1 began the round that was cut: its turn is kept
    assert result.ratios[0].rounds == 20


def test_time_goes_on_through_an_interruption() -> None:
    """The device's clock starts anew; the pictures of a benchmark over time must not fold over themselves."""
    now = [100.0]
    gathered = cut(scripted.job("a0"), ("a0",), "round", times=5, clock=lambda: now[0])
    now[0] += 60
    left = gathered.rest()
    assert left is not None
    for event in scripted.events(left.order):
        gathered.add(event)
    started = [t.started for t in gathered.result().measured[0].model]
    assert started == sorted(started)
    assert started[5] == 60.0


def test_an_artifact_that_failed_is_not_asked_for_again() -> None:
    gathered = cut(scripted.job("a0", "a1"), ("a0", "a1"), "round", times=3)
    gathered.add({"event": "error", "id": "a0", "sentence": "it died"})
    left = gathered.rest()
    assert left is not None
    assert [a["id"] for a in left.order["artifacts"]] == ["a1"]


def test_a_sustained_run_that_was_cut_is_made_again() -> None:
    names = ("a0", "a1")
    gathered = cut(scripted.job(*names, sustained_minutes=1), names, "window", times=25)
    left = gathered.rest()
    assert left is not None
    assert (left.order["first_round"], left.order["skip"]) == (20, {"a0": ["sustained"]})
    for event in scripted.events(left.order):
        gathered.add(event)
    first, second = gathered.result().measured
    assert first.sustained is not None
    assert second.sustained is not None
    assert (len(first.sustained.windows), len(second.sustained.windows)) == (20, 20)
    assert second.sustained.slowdown_ratio == pytest.approx(1.19 / 1.0, rel=0.03)


def test_another_device_under_the_same_name_is_refused() -> None:
    gathered = cut(scripted.job("a0"), ("a0",), "round", times=3)
    with pytest.raises(DeviceError, match="another device answered under this name"):
        gathered.add({"event": "fingerprint", "fingerprint": {**scripted.FINGERPRINT, "id": "another"}})


# What is no event.


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"event": "surprise"}, "no runner of this version sends it"),
        ({"event": "hello", "protocol": 99}, "it speaks protocol 99"),
        ({"event": "hello"}, "'protocol' is missing"),
        ({"event": "turn", "id": "a9", "kind": "model", "turn": {}}, "there is no artifact 'a9'"),
        ({"event": "turn", "id": "a0", "kind": "model", "turn": {"round": 0}}, "turn: missing"),
        ({"event": "turn", "id": "a0", "kind": "other", "turn": scripted.turn(0, [1])}, "kind is 'other'"),
        ({"event": "turn", "id": "a0", "kind": "model", "turn": scripted.turn(0, [1, 0])}, "0 ns cannot be"),
        (
            {"event": "turn", "id": "a0", "kind": "end_to_end", "turn": scripted.turn(0, [5], infer=[1, 2])},
            "2 times of",
        ),
        ({**OPENED, "threads": 0}, "threads is 0"),
        ({**OPENED, "threads": "four"}, "threads: expected int"),
        ({"event": "opened", "id": "a0", "load_ns": -1, "first_ns": 1}, "load_ns is -1"),
        ({"event": "opened", "id": "a0", "load_ns": 1, "first_ns": 1, "runtime_version": 7}, "runtime_version"),
        ({"event": "fingerprint", "fingerprint": {**scripted.FINGERPRINT, "cores": "four"}}, "cores"),
        ({"event": "fingerprint", "fingerprint": [1]}, "expected an object"),
        ({"event": "memory", "id": "a0", "memory": {"runtime": 1, "model": 1, "peak": 1, "swap": 1}}, "unknown swap"),
        ({"event": "round", "round": "x", "of": 20}, "round"),
        ({"event": "error", "id": "a0"}, "'sentence' is missing"),
        ({"event": "note", "id": "a0", "kind": "weather", "sentence": "it rains"}, "kind is 'weather'"),
        ({"event": "memory", "id": "a0", "memory": {"runtime": 1, "model": -1, "peak": 1}}, "memory below zero"),
        ({"event": "told", "id": "a0", "told": {**TOLD, "mean": -1.0}}, "cannot be"),
        ({"event": "round", "round": 20, "of": 20}, "20 rounds cannot be over after 0"),
        ({"event": "window", "id": "a0", "turn": scripted.turn(0, [1])}, "window 0 was not asked for"),
        ({"event": "turn", "id": "a0", "kind": "model", "turn": scripted.turn(0, [])}, "holds no run"),
        ({"event": "turn", "id": "a0", "kind": "model", "turn": scripted.turn(1, [1])}, "round 1 was not asked for"),
        ({"event": "turn", "id": "a0", "kind": "model", "turn": scripted.turn(-1, [1])}, "round -1 was not asked for"),
        ({"event": "turn", "id": "a0", "kind": "model", "turn": scripted.turn(0, [1] * 11)}, "11 runs in one turn"),
        ({"event": "turn", "id": "a0", "kind": "model", "turn": scripted.turn(0, [1, 10**400])}, "the number 10000"),
        ({"event": "turn", "id": "a0", "kind": "model", "turn": scripted.turn(0, [1], math.nan)}, "the number nan"),
        ({"event": "before", "conditions": {**scripted.CONDITIONS, "celsius": {"cpu": math.inf}}}, "the number inf"),
        (
            {"event": "after", "conditions": functools.reduce(lambda deep, _: [deep], range(5000), list[Any]())},
            "recursion",
        ),
    ],
)
def test_a_strange_event_is_refused_in_a_sentence_that_names_the_device(event: dict[str, Any], why: str) -> None:
    gathered = collector(scripted.job("a0"), "a0")
    with pytest.raises(DeviceError, match="ssh://board: its runner sent a strange event") as refused:
        gathered.add(event)
    assert why in str(refused.value)


def test_a_turn_counts_once_and_a_device_begins_once() -> None:
    gathered = cut(scripted.job("a0"), ("a0",), "turn")
    for again in list(scripted.events(scripted.order("a0")))[:6]:
        if again["event"] in ("hello", "turn"):
            with pytest.raises(DeviceError, match=r"began twice|not asked for"):
                gathered.add(again)


def test_a_device_that_never_comes_to_an_end_is_given_up() -> None:
    """Each of its events makes sense, and says that it is alive."""
    gathered = collector(scripted.job("a0"), "a0")
    with pytest.raises(DeviceError, match="it tells more than there is to tell"):
        for _ in range(1000):
            gathered.add({"event": "note", "id": "a0", "kind": "memory", "sentence": "still at it"})


def test_what_a_device_says_steers_no_terminal_and_can_be_written() -> None:
    """Escape sequences, text that runs backwards, half a surrogate pair, a megabyte."""
    gathered = told(scripted.job("a0"), "a0")
    gathered.add({"event": "error", "id": "a0", "sentence": "it\x1b[2J died\n\u202ehere \ud800" + "x" * 1_000_000})
    (measured,) = gathered.result().measured
    assert measured.error is not None
    assert measured.error.startswith("it [2J died here xxx")
    assert len(measured.error) == 1000


def test_an_error_without_a_reason_is_one() -> None:
    gathered = told(scripted.job("a0"), "a0")
    gathered.add({"event": "error", "id": None, "sentence": ""})
    assert gathered.result().error == "it gave no reason"


def test_an_artifact_without_times_has_an_error_though_the_device_has_none() -> None:
    """Else a gate would have nothing to hold against, and a benchmark would end as if all were well."""
    gathered = collector(scripted.job("a0", "a1"), "a0", "a1")
    for event in scripted.events(scripted.order("a0", "a1")):
        if event["event"] != "turn" or event["id"] == "a0":
            gathered.add(event)
    assert [m.error for m in gathered.result().measured] == [None, "the device printed no times of it, nor why"]


def test_times_of_another_backend_do_not_go_on_after_an_interruption() -> None:
    """Half of XNNPACK's times and half of the plain kernels' would be the figures of neither."""
    gathered = cut(scripted.job("a0"), ("a0",), "round", times=3)
    left = gathered.rest()
    assert left is not None
    with pytest.raises(DeviceError, match=r"opened with backend 'plain kernels' instead of 'XNNPACK, 1 of 1 nodes'"):
        for event in scripted.events(left.order):
            gathered.add({**event, "backend": "plain kernels"} if event["event"] == "opened" else event)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a0/../../x", "a0//x", "-rf", "a0/$(reboot)", "a b", "", "ä"])
def test_a_job_takes_no_name_that_could_mean_something_to_a_shell(name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a file on a device"):
        Job(order=scripted.order("a0"), files={name: b""})


def test_a_job_with_another_order_has_the_same_files() -> None:
    job = Job(order=scripted.order("a0"), files={"a0/model.tflite": b"abc"})
    assert job.with_order(remove=True).order["remove"] is True
    assert job.with_order(remove=True).files == job.files
