"""Files from strangers: what is good is read, what is bad ends in one line, and code in them never runs."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from support import network

from edgecvx.errors import CheckpointError
from edgecvx.models.weightfile import few, read_weight_file

WEIGHTS = network().state_dict()


def pickled(thing: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer, **options)
    return buffer.getvalue()


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_weight_file(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_safetensors_keep_names_values_metadata_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(WEIGHTS, path, metadata={"by": "somebody"})
    found = read_weight_file(path)
    assert found.metadata == {"by": "somebody"}
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in WEIGHTS.items())


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".pth.tar"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_read_in_both_of_torch_s_formats(tmp_path: Path, suffix: str, zipped: bool) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickled(WEIGHTS, _use_new_zipfile_serialization=zipped))
    assert read_weight_file(path).tensors.keys() == WEIGHTS.keys()


@pytest.mark.parametrize(
    ("saved", "note"),
    [
        ({"state_dict": WEIGHTS, "epoch": 3}, "took 'state_dict', not epoch"),
        ({"model": WEIGHTS, "optimizer": {}, "args": None}, "took 'model', not optimizer, args"),
        ({"model": WEIGHTS, "args": argparse.Namespace(lr=1e-3, opt="adamw")}, "took 'model', not args"),
        ({"model": {}, "model_ema": WEIGHTS}, "took 'model_ema', not model"),
        ({"state_dict": {"model": WEIGHTS}}, "took 'model'"),
        ({**WEIGHTS, "epoch": 3}, "left out what is no tensor: epoch"),
    ],
)
def test_weights_are_found_inside_what_a_trainer_saved_and_it_is_told(
    tmp_path: Path, saved: dict[str, Any], note: str
) -> None:
    path = tmp_path / "last.pth"
    path.write_bytes(pickled(saved))
    found = read_weight_file(path)
    assert found.tensors.keys() == WEIGHTS.keys()
    assert any(note in told for told in found.notes)


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, zipped: bool) -> None:
    marker, path = tmp_path / "the-code-ran", tmp_path / "evil.pth"
    path.write_bytes(
        pickled({"state_dict": WEIGHTS, "extra": Malicious(marker)}, _use_new_zipfile_serialization=zipped)
    )
    assert "mkdir) and not only to hold tensors; nothing of it was run" in refused(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the file is what it claims: read carelessly, it does run
    assert marker.exists()


def test_a_whole_pickled_network_is_answered_with_what_to_save_instead(tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    path.write_bytes(pickled(network()))
    assert "save its state_dict alone" in refused(path)


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def claim(shape: list[int], *offsets: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": offsets}


GOOD = safetensors.torch.save(WEIGHTS)
BAD_SAFETENSORS = {
    "truncated": GOOD[: len(GOOD) // 2],
    "cut in the header": GOOD[:100],
    "trailing bytes": GOOD + b"more",
    "a header longer than the file": struct.pack("<Q", 1 << 62) + b"{}",
    "a header that is no JSON": struct.pack("<Q", 4) + b"}{}{",
    "offsets beyond the end": header(w=claim([4], 0, 16)) + bytes(8),
    "a shape larger than its bytes": header(w=claim([1 << 40], 0, 16)) + bytes(16),
    "overlapping tensors": header(v=claim([2], 0, 8), w=claim([2], 4, 12)) + bytes(12),
    "an unknown type": header(w={**claim([1], 0, 4), "dtype": "F99"}) + bytes(4),
    "a pickle of that name": pickled(WEIGHTS),
    "an error page": b"<!DOCTYPE html><html>404</html>",
}


@pytest.mark.parametrize("kind", BAD_SAFETENSORS)
def test_damaged_safetensors_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(BAD_SAFETENSORS[kind])
    assert "damaged" in refused(path)


def bomb() -> bytes:
    """A small archive whose one entry unpacks to 64 MiB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(64 << 20))
    return buffer.getvalue()


BAD_PICKLES = {
    "truncated": (pickled(WEIGHTS)[:5000], "download interrupted"),
    "truncated, old format": (pickled(WEIGHTS, _use_new_zipfile_serialization=False)[:5000], "damaged"),
    "a zip bomb": (bomb(), "claims to unpack"),
    "another zip": (b"PK\x05\x06" + bytes(18), "damaged"),
    "random bytes": (bytes(range(256)) * 8, "damaged"),
    "safetensors of that name": (GOOD, "damaged"),
    "a list": (pickled([torch.ones(2)]), "not a dictionary"),
    "no tensors": (pickled({"epoch": 3}), "no tensors"),
    "repeats one number": (pickled({"w": torch.ones(1).expand(1 << 40)}), "more elements than the file holds"),
    "sparse": (pickled({"w": torch.eye(3).to_sparse()}), "not a plain dense tensor"),
}


@pytest.mark.parametrize("kind", BAD_PICKLES)
def test_damaged_and_foreign_pickles_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.pth"
    path.write_bytes(BAD_PICKLES[kind][0])
    assert BAD_PICKLES[kind][1] in refused(path)


def test_what_is_no_file_or_no_weights_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "absent.safetensors")
    (tmp_path / "folder.pth").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.pth")
    (tmp_path / "empty.pth").touch()
    assert "is empty" in refused(tmp_path / "empty.pth")
    (tmp_path / "model.h5").write_bytes(b"x")
    assert ".safetensors" in refused(tmp_path / "model.h5")
    (tmp_path / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 123\n")
    assert "git lfs pull" in refused(tmp_path / "pointer.safetensors")


def test_a_file_larger_than_any_convnext_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.pth"
    with path.open("wb") as file:
        file.truncate(5 << 30)  # sparse: takes no disk
    assert "more than any ConvNeXt" in refused(path)


def test_names_from_a_file_cannot_break_the_line_or_the_terminal() -> None:
    assert few(["a\nb", "\x1b[31mred", "x" * 500, "y"]).isprintable()
    assert len(few(["x" * 500] * 9)) < 400
