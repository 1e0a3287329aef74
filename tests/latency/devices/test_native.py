"""Files of the native engine on a device: the engine goes along, and one that is missing there is told."""

from __future__ import annotations

import dataclasses
import getpass
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from loopback_ssh import SSHD, Board
from native_artifacts import copied, exported_again

import edgecvx
from edgecvx.board.engines.native import this_platform
from edgecvx.errors import ArtifactError
from edgecvx.latency import bench
from edgecvx.latency.bench import benchmark
from edgecvx.latency.devices.base import Device
from edgecvx.latency.devices.ssh import SshDevice
from edgecvx.latency.request import ArtifactFiles
from edgecvx.native.platforms import get_platform

if TYPE_CHECKING:
    from small_classifier import Exported

LIBRARY = get_platform(this_platform()).suffixes[0]


@pytest.fixture
def elsewhere(native_classifier: Exported, tmp_path: Path) -> Path:
    """The same network, exported for another machine than this."""
    artifact = exported_again(native_classifier, tmp_path / "elsewhere", platforms="aarch64-ios")
    return artifact.path


def test_a_library_lies_beside_its_model_under_a_name_made_up_here(native_classifier: Exported) -> None:
    opened, files = ArtifactFiles.read(native_classifier.path).files("a0")
    assert opened == "a0/model.ecvx"
    assert list(files) == ["a0/model.ecvx", f"a0/model{LIBRARY}"]
    assert files[f"a0/model{LIBRARY}"] == native_classifier.path.with_name(f"{native_classifier.path.stem}{LIBRARY}")


def test_an_artifact_brings_no_other_files(native_classifier: Exported, tmp_path: Path) -> None:
    artifact = ArtifactFiles.read(copied(native_classifier.path, tmp_path))
    strange = dataclasses.replace(artifact.manifest.files[1], path=f"{artifact.path.stem}.so")
    manifest = dataclasses.replace(artifact.manifest, files=(artifact.manifest.files[0], strange))
    with pytest.raises(ArtifactError, match=r"is made of other files than \.ecvx: export it again"):
        dataclasses.replace(artifact, manifest=manifest).files("a0")


def test_each_set_of_kernels_and_number_of_threads_is_measured(native_classifier: Exported) -> None:
    found = benchmark(
        native_classifier.path, threads=(1, 2), runtimes=["native", "native:kernels=portable"], runs=4, rounds=2
    )
    (device,) = found.devices
    assert [m.error for m in device.measured] == [None] * 4
    assert [m.threads_told for m in device.measured] == [1, 2, 1, 2]
    assert [m.backend for m in device.measured][2:] == ["portable"] * 2
    assert {m.identity.runtime_version for m in device.measured} == {f"edgecvx {edgecvx.__version__}"}
    assert all(m.memory is not None and m.end_to_end_summary is not None for m in device.measured)


def test_kernels_that_are_not_there_are_an_error_of_that_choice(native_classifier: Exported) -> None:
    found = benchmark(native_classifier.path, runtimes=["native", "native:kernels=mmx"], runs=4, rounds=2)
    sound, asked = found.devices[0].measured
    assert sound.error is None
    assert "no set of kernels for this processor 'mmx', only " in (asked.error or "")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A board behind ssh, whoever is named."""
    made = Board(tmp_path / "board")

    def open_device(text: str, *, python: str | None = None, adb_benchmark: str | None = None) -> Device:
        return SshDevice(text, made.address, python=python, config=made.client)

    monkeypatch.setattr(bench, "open_device", open_device)
    yield made
    made.close()


@pytest.mark.skipif(SSHD is None, reason="no sshd on this machine")
@pytest.mark.usefixtures("board")
def test_over_ssh_the_library_goes_along(native_classifier: Exported, elsewhere: Path) -> None:
    """And where it is one for another machine, that is told, and the other file is measured."""
    found = benchmark(
        [native_classifier.path, elsewhere],
        devices=[f"ssh://{getpass.getuser()}@board"],
        python=sys.executable,
        runs=4,
        rounds=2,
    )
    (device,) = found.devices
    measured, missing = device.measured
    assert (device.error, measured.error) == (None, None)
    assert measured.model_summary is not None
    assert missing.error == (
        f"the file has no library for this machine beside it: edgecvx export … --platform {this_platform()} writes it"
    )
