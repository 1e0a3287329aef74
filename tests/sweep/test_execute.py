"""A plan carried out by hands that only pretend: order, lanes, locks, devices that are gone, and stops."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from waiting import wait_until

from edgecvx.sweep.execute import Execution, Progress
from edgecvx.sweep.job import Job
from edgecvx.sweep.plan import Plan
from edgecvx.sweep.recipe.values import Device, Model, Recipe
from edgecvx.sweep.store import Store
from edgecvx.sweep.work import Done, Failed, Outcome, Tell

SCALE = {"parameters": 1.0, "pixels": 1.0, "bits": 8.0, "calibrating": 0.0, "pictures": 1.0, "work": 1.0}
BOARDS = (Device(name="kitchen", device="ssh://pi@kitchen", tries=3), Device(name="here", device="local"))


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process of a sweep did is looked at more often than every half a second."""
    monkeypatch.setattr("edgecvx.sweep.execute._TICK", 0.02)


def export(name: str, together: str = "files") -> Job:
    return Job(kind="export", name=name, depends={"name": name}, call={}, together=together, scale=SCALE)


def then(job: Job, kind: str, lane: str = "") -> Job:
    return Job(
        kind="validate" if kind == "validate" else "bench",
        name=f"{job.name} {lane or 'checked'}",
        depends={"lane": lane},
        before=(job.key,),
        call={},
        together=lane or "checked",
        lane=lane,
        scale={**SCALE, "runs": 1.0, "seconds": 0.0},
    )


def plan(*jobs: Job, devices: Sequence[Device] = BOARDS) -> Plan:
    recipe = Recipe(name="pretended", models=(Model(model="atto"),), targets=("onnx",), devices=tuple(devices))
    return Plan(recipe=recipe, jobs={job.key: job for job in jobs}, cells=(), left_out=(), warnings=())


EXPORTS = [export(f"e{i}") for i in range(3)]
EVERYTHING = plan(
    *EXPORTS, *(then(e, "validate") for e in EXPORTS), *(then(EXPORTS[0], "bench", b.name) for b in BOARDS)
)


class Hands:
    """Writes a file for each job, and notes when it was at it."""

    def __init__(self, fails: Callable[[Job], Failed | None] = lambda job: None, *, shares: bool = True) -> None:
        self.did: Counter[str] = Counter()
        self.batches: list[list[str]] = []
        self.spans: list[tuple[str, float, float]] = []
        self._fails, self._shares = fails, shares
        self.gate: Callable[[Job], object] = lambda job: None

    def fitting(self, ready: Sequence[Job]) -> Sequence[Job]:
        return [job for job in ready if (job.kind, job.together) == (ready[0].kind, ready[0].together)]

    def carry_out(
        self, jobs: Sequence[Job], inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        self.batches.append([job.name for job in jobs])
        for job in jobs:
            began = time.monotonic()
            self.gate(job)
            assert set(job.before) <= set(inputs), "what it takes is there"
            self.did[job.name] += 1
            time.sleep(0.02)
            self.spans.append((job.lane, began, time.monotonic()))
            if (failed := self._fails(job)) is not None:
                yield failed
                continue
            (folder / job.key).mkdir()
            (folder / job.key / "result").write_text(job.name)
            yield Done(key=job.key, main="result", seconds=0.02)

    def device(
        self, job: Job, inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        return self.carry_out([job], inputs, folder, tell, stop)

    def workers(self) -> Mapping[str, str]:
        return {}

    def shares(self, device: str) -> bool:
        return self._shares and device == "local"


def run(what: Plan, out: Path, hands: Hands, said: list[str] | None = None) -> Execution:
    def tell(at: Progress) -> None:
        if at.said and said is not None:
            said.append(at.said)

    execution = Execution(what, Store(out), hands, tell=tell, pause=0.01)
    execution.run()
    return execution


def test_everything_is_done_once_and_in_order(tmp_path: Path) -> None:
    hands = Hands()
    execution = run(EVERYTHING, tmp_path, hands)
    assert set(execution.state.values()) == {"done"}
    assert set(hands.did.values()) == {1}
    assert hands.batches[0] == ["e0", "e1", "e2"]  # what is best done together is
    assert execution.computed == {"export": 3, "validate": 3, "bench": 2}
    again = Hands()
    run(EVERYTHING, tmp_path, again)
    assert not again.did


def test_what_is_timed_here_is_timed_alone(tmp_path: Path) -> None:
    """The board in the kitchen is timed while others compute; this machine only while nothing else runs."""

    def alone(found: list[tuple[str, float, float]]) -> bool:
        (here,) = [(b, e) for lane, b, e in found if lane == "here"]
        return all(e <= here[0] or b >= here[1] for lane, b, e in found if lane != "here")

    hands = Hands()
    run(EVERYTHING, tmp_path / "out", hands)
    assert alone(hands.spans)
    careless = Hands(shares=False)
    validating = threading.Event()
    careless.gate = lambda job: (  # a twin that does not know which machine is meant
        validating.set() if job.name == "e0 checked" else validating.wait(10) if job.lane == "here" else None
    )
    run(EVERYTHING, tmp_path / "careless", careless)
    assert not alone(careless.spans)


def test_a_device_that_does_not_answer_is_looked_for_again(tmp_path: Path) -> None:
    tries = iter([True, True, False])
    hands = Hands(lambda job: Failed(key=job.key, sentence="no route", again=True) if _kitchen(job, tries) else None)
    said: list[str] = []
    execution = run(EVERYTHING, tmp_path, hands, said)
    assert hands.did["e0 kitchen"] == 3
    assert set(execution.state.values()) == {"done"}
    assert said == ["e0 kitchen: no route; tried again in 0 s"] * 2


def _kitchen(job: Job, tries: Iterator[bool]) -> bool:
    return job.lane == "kitchen" and next(tries, True)


def test_a_device_that_is_gone_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    second = then(EXPORTS[1], "bench", "kitchen")
    what = plan(*EVERYTHING.jobs.values(), second)
    hands = Hands(lambda job: Failed(key=job.key, sentence="gone", again=True) if job.lane == "kitchen" else None)
    execution = run(what, tmp_path, hands)
    failed = {what.jobs[key].name: why for key, why in execution.reasons.items()}
    assert failed == {"e0 kitchen": "gone", "e1 kitchen": "given up: gone"}
    assert hands.did["e0 kitchen"] == 3  # and no more for the second: it is the same device
    assert sum(state == "done" for state in execution.state.values()) == 7


def test_what_needs_a_file_that_was_not_made_says_so(tmp_path: Path) -> None:
    hands = Hands(lambda job: Failed(key=job.key, sentence="no such op") if job.name == "e1" else None)
    said: list[str] = []
    execution = run(EVERYTHING, tmp_path, hands, said)
    assert sorted(execution.reasons.values()) == ["e1 was not made", "no such op"]
    assert "export e1: no such op" in said
    # A failure is no result: it is tried again the next time.
    again = Hands()
    assert set(run(EVERYTHING, tmp_path, again).state.values()) == {"done"}
    assert set(again.did) == {"e1", "e1 checked"}


def test_a_crash_costs_no_other_job_its_result(tmp_path: Path) -> None:
    """Nobody knows whose fault it was that the process died: each that is left is done alone, the guilty fails."""
    hands = Hands()

    def crash(job: Job) -> Failed | None:
        together = len(hands.batches[-1]) > 1
        return Failed(key=job.key, sentence="SIGSEGV", crashed=True) if job.name == "e1" or together else None

    hands._fails = crash
    execution = run(plan(*EXPORTS), tmp_path, hands)
    assert [execution.state[e.key] for e in EXPORTS] == ["done", "failed", "done"]
    assert hands.batches == [["e0", "e1", "e2"], ["e0"], ["e1"], ["e2"]]


def test_two_sweeps_in_one_folder_do_nothing_twice(tmp_path: Path) -> None:
    both = Hands(), Hands()
    met = threading.Barrier(2, timeout=30)
    waited = [False, False]
    for index, hands in enumerate(both):

        def gate(job: Job, index: int = index) -> None:
            if not waited[index]:
                waited[index] = True
                met.wait()

        hands.gate = gate
    # Of several kinds, so that the second has something to do while the first is at it.
    what = plan(*(export(f"f{i}", together=f"t{i}") for i in range(8)))
    threads = [threading.Thread(target=run, args=(what, tmp_path, hands)) for hands in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert both[0].did + both[1].did == {f"f{i}": 1 for i in range(8)}
    assert both[0].did and both[1].did


def test_what_computes_for_another_sweep_in_the_folder_is_not_timed_meanwhile(tmp_path: Path) -> None:
    other = Store(tmp_path).turn(alone=False)  # another process, which computes
    assert other is not None
    hands = Hands()
    execution = Execution(EVERYTHING, Store(tmp_path), hands, pause=0.01)
    work = threading.Thread(target=execution.run)
    work.start()
    wait_until(lambda: hands.did["e2 checked"] and hands.did["e0 kitchen"], "all is done but what is timed here")
    time.sleep(1)
    assert "e0 here" not in hands.did
    other.release()
    work.join()
    assert hands.did["e0 here"] == 1
    # And while this machine is timed, nobody else begins to compute.
    timing = Store(tmp_path).turn(alone=True)
    assert timing is not None
    assert Store(tmp_path).turn(alone=False) is None


def test_a_lock_ends_with_whoever_held_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = store.lock("k")
    assert lock is not None
    assert store.lock("k") is None
    assert "process" in store.owner("k")
    lock.release()
    assert store.lock("k") is not None


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "no record"])
def test_a_damaged_result_is_no_result(damage: str, tmp_path: Path) -> None:
    run(plan(EXPORTS[0]), tmp_path, Hands())
    folder = tmp_path / "jobs" / EXPORTS[0].key
    if damage in ("gone", "no record"):
        (folder / ("result" if damage == "gone" else "record.json")).unlink()
    else:
        (folder / "result").write_text("e" if damage == "cut" else "e1")
    hands = Hands()
    run(plan(EXPORTS[0]), tmp_path, hands)
    assert hands.did == {"e0": 1}
    assert (folder / "result").read_text() == "e0"


def test_what_is_stopped_leaves_nothing_half(tmp_path: Path) -> None:
    hands = Hands()
    seen: list[int] = []

    def tell(at: Progress) -> None:
        seen.append(1)
        if at.counts.get(("export", "done"), 0) and len(seen) > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Execution(EVERYTHING, Store(tmp_path), hands, tell=tell).run()
    found = [p for p in (tmp_path / "jobs").iterdir() if p.name != ".locks"]
    assert found and all((p / "record.json").is_file() for p in found)
    again = Hands()
    run(EVERYTHING, tmp_path, again)
    assert not set(again.did) & {EVERYTHING.jobs[p.name].name for p in found}
