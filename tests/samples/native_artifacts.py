"""The native engine as a user meets it: its library for this machine, and a small classifier exported for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgecvx.data import demo

if TYPE_CHECKING:
    from small_classifier import Exported

    from edgecvx import pipeline

CALIBRATED_ON = 24


@pytest.fixture(scope="session")
def native_library() -> bytes:
    """The engine for this machine: built once, and kept with what else can be computed again."""
    pytest.importorskip("ziglang")
    from edgecvx.native.build import build
    from edgecvx.native.platforms import this_platform

    return build(this_platform())


@pytest.fixture(scope="session")
def native_classifier(
    native_library: bytes, small_classifier: Exported, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """The small classifier of the drawn pictures in INT8, with the engine for this machine."""
    from small_classifier import Exported

    from edgecvx.pipeline import export

    folder = tmp_path_factory.mktemp("native")
    labels = folder / "labels.txt"
    labels.write_text("\n".join(demo.CLASSES))
    (written,) = export(
        small_classifier.checkpoint,
        target="native",
        precision="int8",
        image_size=64,
        labels=labels,
        calib_samples=CALIBRATED_ON,
        out=folder,
    ).artifacts
    return Exported(path=written.path, checkpoint=small_classifier.checkpoint)


def exported_again(classifier: Exported, out: Path, *, target: str = "native", **changes: Any) -> pipeline.Exported:
    """The classifier's file from the same plan, in another folder or for another platform."""
    from edgecvx.pipeline import export

    (artifact,) = export(
        classifier.checkpoint,
        target=target,
        precision="int8",
        image_size=64,
        plan=next(classifier.path.parent.glob("*.plan.json")),
        labels=classifier.path.with_name("labels.txt"),
        out=out,
        **changes,
    ).artifacts
    return artifact


def copied(artifact: Path, folder: Path) -> Path:
    """An artifact with all that lies beside it, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in artifact.parent.glob(f"{artifact.stem}.*"):
        place = folder / file.name
        place.write_bytes(file.read_bytes())
        place.chmod(0o644)
    return folder / artifact.name
