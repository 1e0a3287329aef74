"""About how long a sweep takes: by stated defaults, and then by what was seen here."""

from __future__ import annotations

from pathlib import Path

from edgecvx.sweep.estimate import DEFAULTS, estimate, expected
from edgecvx.sweep.job import Job
from edgecvx.sweep.plan import Plan
from edgecvx.sweep.recipe.values import Model, Recipe
from edgecvx.sweep.store import Store

FEMTO = {"parameters": 5.2e6, "pixels": 224.0**2, "bits": 32.0, "calibrating": 0.0}


def plan(*scales: dict[str, float]) -> Plan:
    jobs = [
        Job(kind="export", name=str(i), depends={"number": i}, call={}, together="", scale=scale)
        for i, scale in enumerate(scales)
    ]
    recipe = Recipe(name="some", models=(Model(model="femto"),), targets=("onnx",))
    return Plan(recipe=recipe, jobs={job.key: job for job in jobs}, cells=(), left_out=(), warnings=())


def test_nothing_seen_the_defaults_are_told(tmp_path: Path) -> None:
    found = estimate(plan(FEMTO, {**FEMTO, "calibrating": 100.0, "bits": 8.0}), Store(tmp_path))
    assert found.left == {"export": 2}
    assert found.seconds == 6 + 6 + 12
    assert round(found.bytes / 1e6) == 29
    assert found.basis == DEFAULTS


def test_what_was_seen_here_counts_and_what_is_there_is_not_done_again(tmp_path: Path) -> None:
    what, store = plan(FEMTO, {**FEMTO, "parameters": 10.4e6}), Store(tmp_path)
    first, second = what.jobs.values()
    with store.staging() as folder:
        (folder / first.key).mkdir()
        store.publish(first, folder / first.key, main="x", seconds=3 * expected(first))
    found = estimate(what, Store(tmp_path))
    assert found.left == {"export": 1}
    assert abs(found.seconds - 3 * expected(second)) < 0.01
    assert "export x3.00" in found.basis
