"""A site of the small classifier, exported once, and copies of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from native_artifacts import exported_again

if TYPE_CHECKING:
    from small_classifier import Exported


@pytest.fixture(scope="session")
def site(native_classifier: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The small classifier of the drawn pictures as a site; its folder is for reading alone."""
    from small_classifier import Exported

    folder = tmp_path_factory.mktemp("site")
    return Exported(
        path=exported_again(native_classifier, folder, target="web").path, checkpoint=native_classifier.checkpoint
    )


def copy_of(folder: Path, place: Path) -> Path:
    """A site to do something to."""
    shutil.copytree(folder, place)
    return place
