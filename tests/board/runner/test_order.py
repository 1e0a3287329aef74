"""An order is checked key by key: what it says wrong is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from onboarded import artifact, write_order

from edgecvx.board import MARK
from edgecvx.board.runner.order import OrderError, read_order, removable


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rounds": 0}, "0 rounds"),
        ({"rounds": "many"}, "the order.rounds: expected int, got 'many'"),
        ({"rounds": True}, "the order.rounds: expected int, got True"),
        ({"first_round": 3}, "2 rounds from round 3 on"),
        ({"runs": None}, "either runs or seconds"),
        ({"seconds": 3.0}, "either runs or seconds"),
        ({"runs": 0}, "must be positive"),
        ({"speed": "high"}, "the order: unknown speed"),
        ({"skip": {"a0": ["everything"]}}, "'everything' cannot be skipped"),
        ({"pictures": ["/etc/passwd"]}, "does not lie in the order's folder"),
        ({"artifacts": []}, "needs artifacts"),
        ({"folder": "/etc"}, "the order.folder: expected Path, got '/etc'"),
        ({"warm_up": {"window": 0}}, "window and max_runs"),
        ({"warm_up": {"windows": 3}}, "the order.warm_up: unknown windows"),
    ],
)
def test_what_an_order_says_wrong(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    path = write_order(tmp_path, [artifact("a0")])
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")
    with pytest.raises(OrderError) as caught:
        read_order(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"path": "../../etc/passwd"}, r"artifacts\[0\]: '../../etc/passwd' does not lie in"),
        ({"threads": 0}, "0 threads do not work"),
        ({"input": {"name": "x", "shape": [1], "dtype": "float32"}}, r"artifacts\[0\].input: missing layout"),
        ({"colour": "red"}, r"artifacts\[0\]: unknown colour"),
    ],
)
def test_what_an_artifact_says_wrong(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(OrderError, match=sentence):
        read_order(write_order(tmp_path, [artifact("a0", **changes)]))


PROVED: dict[str, Any] = {
    "proof": {
        "processor": {"name": "A PC", "machine": "x86_64", "kind": "AVX2", "instructions": ["avx2"]},
        "engine": "tflite",
        "outputs": [{"name": "logits", "low": -1.0, "high": 1.0, "noise": 0.001, "values": [[0.5, -0.5]]}],
    },
    "probes": "inputs/1.npy",
    "limit": 0.002,
    "remedy": "export it again",
}


def test_an_artifact_may_say_where_it_was_proved(tmp_path: Path) -> None:
    (known,) = read_order(write_order(tmp_path, [artifact("a0", proved=PROVED)])).artifacts
    assert known.proved is not None
    assert known.proved.proof.processor.kind == "AVX2"
    assert known.proved.proof.outputs[0].values == ((0.5, -0.5),)
    (unknown,) = read_order(write_order(tmp_path, [artifact("a0")])).artifacts
    assert unknown.proved is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"proof": {}}, "artifacts[0].proved.proof: missing engine, outputs, processor"),
        (
            {"proof": {**PROVED["proof"], "outputs": [{"name": "logits"}]}},
            "artifacts[0].proved.proof.outputs[0]: missing high, low, noise, values",
        ),
        ({"probes": "../x.npy"}, "does not lie in the order's folder"),
        ({"limit": "none"}, "artifacts[0].proved.limit: expected float, got 'none'"),
        ({"margin": 3}, "artifacts[0].proved: unknown margin"),
    ],
)
def test_what_is_said_wrong_about_a_proof(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(OrderError) as caught:
        read_order(write_order(tmp_path, [artifact("a0", proved={**PROVED, **changes})]))
    assert sentence in str(caught.value)


def test_two_artifacts_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OrderError, match="an id of its own"):
        read_order(write_order(tmp_path, [artifact("a0"), artifact("a0")]))


@pytest.mark.parametrize(("runs", "rounds"), [(200, 20), (64, 20), (3, 7), (1, 1)])
def test_the_rounds_share_all_runs_out(runs: int, rounds: int, tmp_path: Path) -> None:
    order = read_order(write_order(tmp_path, [artifact("a0")], runs=runs, rounds=rounds))
    shares = [order.runs_in(n) or 0 for n in range(rounds)]
    assert min(shares) >= 1
    assert sum(shares) == max(runs, rounds)
    assert max(shares) - min(shares) <= 1


def test_a_folder_is_removable_when_it_is_marked_and_the_order_says_so(tmp_path: Path) -> None:
    path = write_order(tmp_path, [artifact("a0")], remove=True)
    assert removable(path) is None
    (tmp_path / MARK).touch()
    assert removable(path) == tmp_path.resolve()
    path.write_text('{"remove": true, "protocol": 99}', encoding="utf-8")
    assert removable(path) == tmp_path.resolve()  # the rest of the order may be of another version
    path.write_text('{"remove": "yes"}', encoding="utf-8")
    assert removable(path) is None
