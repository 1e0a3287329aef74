"""A settings file and the command line over it; what makes no sense is told before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx_live.settings import Settings, over, read_settings

APPS = Path(__file__).parents[2] / "apps"


def test_artifacts_are_found_from_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "live.toml"
    path.write_text('artifacts = ["artifacts/a.tflite", "/b.tflite"]\nsize = [320, 240]\nsmoothing = 1\n')
    settings = read_settings(path)
    assert settings.artifacts == (str(tmp_path / "artifacts" / "a.tflite"), "/b.tflite")
    assert (settings.size, settings.smoothing, settings.source) == ((320, 240), 1.0, "demo")


def test_the_command_line_goes_over_the_file() -> None:
    settings = over(Settings(source="picamera2", threads=4), {"source": "demo", "threads": None, "smoothing": 0.0})
    assert (settings.source, settings.threads, settings.smoothing) == ("demo", 4, 0.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("thread = 4", "unknown thread"),
        ("threads = 0", "0 threads"),
        ("threads = '4'", "expected int"),
        ("threads = true", "expected int"),
        ("smoothing = -1.0", "smoothing"),
        ("smoothing = nan", "smoothing"),
        ("port = 70000", "no port 70000"),
        ("size = [640]", "list of 2"),
        ("not toml", "not valid TOML"),
        ("token = 5", "expected str"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "live.toml"
    path.write_text(text)
    with pytest.raises(EdgecvxError, match=says):
        read_settings(path)


def test_a_missing_or_binary_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_settings(tmp_path / "none.toml")
    (tmp_path / "live.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not valid TOML"):
        read_settings(tmp_path / "live.toml")


@pytest.mark.parametrize("path", sorted(APPS.glob("*/live.toml")), ids=lambda path: path.parent.name)
def test_the_boards_settings_are_settings(path: Path) -> None:
    settings = read_settings(path)
    assert settings.artifacts == ()
    assert settings.host == "127.0.0.1", "nobody is let in unasked"
    assert settings.token is None
