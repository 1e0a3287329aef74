"""``edgecvx inspect`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import fails

from edgecvx.board.device.processors import this_processor
from edgecvx.cli import main as cli
from edgecvx.manifest import manifest_path


def test_inspect_tells_what_is_in_the_file(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["inspect", str(exported), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["macs"] == sum(group["macs"] for group in found["ops"]) > 0
    assert set(found["ops"][0]) == {"op", "dtype", "count", "const_bytes", "macs", "int8"}
    assert cli.run(["inspect", str(exported)]) == 0
    shown = capfd.readouterr().out
    assert "SHA-256 verified" in shown
    assert f"({this_processor().kind})" in shown  # where it was proved


def test_an_artifact_with_a_flipped_byte_is_refused(
    exported: Path, picture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / exported.name
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 0x10
    copy.write_bytes(content)
    manifest_path(copy).write_bytes(manifest_path(exported).read_bytes())
    for command in (["predict", str(copy), str(picture)], ["inspect", str(copy)]):
        assert "SHA-256" in fails(command, capfd)


def test_a_manifest_of_another_version_is_refused(
    exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / exported.name
    copy.write_bytes(exported.read_bytes())
    data = json.loads(manifest_path(exported).read_text()) | {"schema_version": 99}
    manifest_path(copy).write_text(json.dumps(data))
    assert "manifest version 99" in fails(["inspect", str(copy)], capfd)
