from __future__ import annotations

from pathlib import Path

import pytest

from edgecvx.errors import UsageError
from edgecvx.models.labels import are_placeholders, labels_from_ids, read_labels


@pytest.mark.parametrize(
    "text",
    ["cat\ndog\ncrane\n", "cat\r\ndog\r\ncrane", '["cat", "dog", "crane"]', '{"2": "crane", "0": "cat", "1": "dog"}'],
)
def test_names_come_one_per_line_or_as_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.txt").write_text(text, encoding="utf-8-sig")
    assert read_labels(tmp_path / "labels.txt", 3) == ("cat", "dog", "crane")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("cat\ndog\n", "names 2 classes, the network has 3"),
        ("cat\n\ncrane\n", "class 1 without a name"),
        ('["cat", 7, "crane"]', "class 1 must be text"),
        ('{"0": "cat", "1": "dog", "3": "crane"}', "run from 0 to 2"),
        ('{"a": "cat", "b": "dog", "c": "crane"}', "whole numbers"),
        ('{"0": "cat", "00": "dog", "1": "crane"}', "each once"),
        ('["cat", ', "not valid JSON"),
    ],
)
def test_a_list_that_does_not_fit_says_where(tmp_path: Path, text: str, hint: str) -> None:
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(UsageError, match=hint):
        read_labels(tmp_path / "labels.txt", 3)


def test_files_that_are_no_text_and_no_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_labels(tmp_path / "picture.jpg", 3)
    with pytest.raises(UsageError, match="No such file"):
        read_labels(tmp_path / "absent.txt", 3)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no endless file on this system")
def test_a_file_without_end_is_not_read_to_it() -> None:
    with pytest.raises(UsageError, match="too large"):
        read_labels(Path("/dev/zero"), 3)


def test_a_backbone_takes_no_names(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\n")
    with pytest.raises(UsageError, match="no classifier"):
        read_labels(tmp_path / "labels.txt", 0)


def test_two_classes_may_share_a_name() -> None:
    """ImageNet has two cranes, the bird and the machine."""
    assert labels_from_ids({"0": "crane", "1": "crane"}, "config.json") == ("crane", "crane")


def test_placeholders_are_not_names() -> None:
    assert are_placeholders(("LABEL_0", "LABEL_1"))
    assert not are_placeholders(("LABEL_0", "cat"))
