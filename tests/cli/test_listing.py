"""``edgecvx models``, ``targets`` and ``doctor`` as they are typed."""

from __future__ import annotations

import json

import pytest

from edgecvx.cli import main as cli


@pytest.mark.parametrize("command", ["models", "targets", "doctor"])
def test_the_listings_speak_json_too(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)
    assert cli.run([command]) == 0
    assert capfd.readouterr().out.strip()


def test_doctor_says_how_to_get_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from edgecvx.board.engines import base, openvino

    def missing() -> str:
        raise base.Missing("openvino")

    monkeypatch.setattr(openvino, "version", missing)
    assert cli.run(["doctor", "--json"]) == 0
    by_name = {row["name"]: row for row in json.loads(capfd.readouterr().out)["runtimes"]}
    assert by_name["openvino"]["version"] is None
    assert by_name["openvino"]["hint"] == "pip install 'edgecvx[openvino]'"
