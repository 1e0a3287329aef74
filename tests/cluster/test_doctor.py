"""``edgecvx doctor --cluster`` says who works there, and whether they fit together."""

from __future__ import annotations

import json

import pytest

from edgecvx.cli import main as cli

pytest.importorskip("distributed")


def test_the_doctor_lists_the_workers_of_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--cluster", "local:1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (worker,) = found["workers"]
    assert worker["threads"] == 1 and worker["versions"]["edgecvx"] and found["warnings"] == []


def test_a_cluster_that_is_not_private_is_refused_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--cluster", "tcp://192.168.0.7:8786"]) == 2
    assert "not encrypted" in capsys.readouterr().err.replace("\n", " ")
