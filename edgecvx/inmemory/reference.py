"""A module somebody holds, as the reference of the artifacts that were exported from it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecvx.errors import UsageError
from edgecvx.manifest import Manifest

if TYPE_CHECKING:
    from torch import nn


@contextlib.contextmanager
def saved_module(module: nn.Module, manifests: Sequence[Manifest]) -> Iterator[Path]:
    """The module's tensors as a checkpoint file for as long as they are needed, wherever the reference is run.

    Args:
        module: What the artifacts were exported from.
        manifests: Theirs; at least one has to be of this module.

    Raises:
        UsageError: None of them is.
        CheckpointError: It is no ConvNeXt, or computes something else than one with its weights does.
    """
    from safetensors.torch import save_file

    from edgecvx.inmemory.module import load_module  # and with it torch, which only this needs

    loaded = load_module(module, preprocess=manifests[0].model.preprocess)
    found = loaded.spec.weights
    if not any(manifest.model.weights.sha256 == found.sha256 for manifest in manifests):
        exported = manifests[0].model.weights
        raise UsageError(
            f"reference={found.ref} is not what {manifests[0].artifact_name} was exported from: its tensors have the "
            f"SHA-256 {found.sha256[:12]}… and the artifact's weights ({exported.ref}) {exported.sha256[:12]}…"
        )
    with tempfile.TemporaryDirectory(prefix="edgecvx-reference-") as folder:
        path = Path(folder) / "reference.safetensors"
        save_file(loaded.module.state_dict(), str(path))
        yield path
