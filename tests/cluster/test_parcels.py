"""Files reach workers by hash, whole or not at all."""

from __future__ import annotations

from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgecvx.cluster import parcels
from edgecvx.cluster.calls import folder_of
from edgecvx.cluster.parcels import Parcel, ParcelFile, fetch, lacking, packed, pieces, receive
from edgecvx.cluster.refusals import ClusterError, ParcelMissingError


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a worker that this process plays."""
    root = tmp_path / "worker"
    monkeypatch.setattr(parcels, "folder", lambda: root)
    return root


def test_no_module_has_the_name_of_a_workers_folder(tmp_path: Path) -> None:
    """What lies around it is first in a worker's ``sys.path``: an edgecvx there hides one installed in place."""
    here = folder_of(SimpleNamespace(local_directory=str(tmp_path)))
    here.mkdir()
    assert here.parent == tmp_path
    assert PathFinder.find_spec("edgecvx", [str(tmp_path)]) is None
    (tmp_path / "edgecvx").mkdir()
    assert PathFinder.find_spec("edgecvx", [str(tmp_path)]) is not None


def send(places: dict[str, Path], root: Path) -> None:
    for sha256, path in places.items():
        for place, block in pieces(path):
            receive(sha256, place, block, path.stat().st_size, root)


def files(folder: Path) -> Path:
    (folder / "model.mlpackage" / "Data").mkdir(parents=True)
    (folder / "model.mlpackage" / "Data" / "weights").write_bytes(bytes(range(256)) * 40)
    (folder / "model.json").write_text("{}")
    (folder / "other").write_text("not sent")
    return folder / "model.mlpackage"


def test_a_folder_and_what_lies_beside_it_arrive_under_their_names(
    worker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "PIECE", 1000)
    path = files(tmp_path / "here")
    parcel, places = packed(path, ["model.json"])
    assert lacking(list(places), worker) == list(places)
    with pytest.raises(ParcelMissingError):
        fetch(parcel)
    send(places, worker)
    assert lacking(list(places), worker) == []
    there = fetch(parcel)
    assert there.name == "model.mlpackage" and (there.parent / "model.json").read_text() == "{}"
    assert (there / "Data" / "weights").read_bytes() == (path / "Data" / "weights").read_bytes()
    assert not (there.parent / "other").exists() and there.is_relative_to(worker)


def test_what_arrives_as_something_else_is_not_there(worker: Path, tmp_path: Path) -> None:
    parcel, places = packed(files(tmp_path / "here"))
    ((sha256, path),) = places.items()
    content = path.read_bytes()
    with pytest.raises(ClusterError, match="arrived damaged"):
        receive(sha256, 0, content[:-1] + b"?", len(content), worker)
    with pytest.raises(ParcelMissingError):
        fetch(parcel)


def test_half_a_file_is_not_there_and_can_be_sent_again(worker: Path, tmp_path: Path) -> None:
    parcel, places = packed(files(tmp_path / "here"))
    ((sha256, path),) = places.items()
    receive(sha256, 0, path.read_bytes()[:100], path.stat().st_size, worker)
    assert lacking([sha256], worker) == [sha256]
    send(places, worker)
    assert fetch(parcel).exists()


def test_what_was_damaged_on_the_worker_is_asked_for_again(worker: Path, tmp_path: Path) -> None:
    parcel, places = packed(files(tmp_path / "here"))
    send(places, worker)
    ((sha256, path),) = places.items()
    content = worker / "contents" / sha256
    content.write_bytes(b"?" * content.stat().st_size)
    with pytest.raises(ParcelMissingError):
        fetch(parcel)
    send(places, worker)
    assert (fetch(parcel) / "Data" / "weights").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out"])
def test_no_name_leads_out_of_the_worker_s_folder(name: str, worker: Path) -> None:
    parcel = Parcel(name="out", files=(ParcelFile(path=name, sha256="0" * 64, bytes=1),))
    with pytest.raises(ClusterError, match="leads out of its parcel"):
        fetch(parcel)


def test_what_was_not_used_for_longest_goes_where_there_is_no_room(
    worker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "MOST_BYTES", 2500)
    sent = []
    for n in range(3):
        path = tmp_path / f"{n}"
        path.write_bytes(bytes([n]) * 1000)
        sent.append(packed(path))
        send(sent[-1][1], worker)
    hashes = [sha256 for _, places in sent for sha256 in places]
    assert lacking(hashes, worker) == hashes[:1]
    assert fetch(sent[2][0]).read_bytes() == bytes([2]) * 1000
