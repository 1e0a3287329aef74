"""Where an artifact is measured: in its own runtime, or in the one its target is proved in.

A file that is compiled on its device (TensorRT) runs nowhere else, but its answers can be had wherever ONNX is run.
Whatever is measured that way says so; its speed cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgecvx.manifest import Manifest
from edgecvx.runtimes import RUNTIMES, availability
from edgecvx.targets import TARGETS, get_target


def runtime_used(manifest: Manifest, versions: Mapping[str, str] | None = None) -> str:
    """The name of the runtime: the artifact's own where it is installed, or where nothing stands in for it.

    Args:
        manifest: The artifact's.
        versions: The runtimes of the workers of a cluster; None for this machine.
    """
    if manifest.target not in TARGETS or manifest.runtime not in RUNTIMES:
        return manifest.runtime
    proved_in = get_target(manifest.target).format.proved_in
    if not proved_in or version_of(manifest.runtime, versions) is not None:
        return manifest.runtime
    return proved_in


def version_of(runtime: str, versions: Mapping[str, str] | None = None) -> str | None:
    """The version of a runtime, here or on the workers of a cluster; None where it is missing."""
    return availability(runtime).version if versions is None else versions.get(runtime)


def note_on_runtime(manifest: Manifest, name: str, versions: Mapping[str, str] | None = None) -> str | None:
    """What has to be told of a file that was measured in another runtime than its own."""
    used = runtime_used(manifest, versions)
    if used == manifest.runtime:
        return None
    return (
        f"{name} was run in {used}, not in {manifest.runtime}, which is not here: its numbers are those of the file, "
        f"but {manifest.runtime} was not proved to give the same"
    )
