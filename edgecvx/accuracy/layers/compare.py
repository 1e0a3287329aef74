r"""Where an artifact's error is born: each inner tensor against FP32, along the depth of the network.

Two figures per tensor, both signal to noise in decibels over all pictures, ``10 log10(sum r^2 / sum (a - r)^2)``:

**accumulated**
    ``a`` is the artifact's tensor, ``r`` the reference's for the same picture. It carries everything that went wrong
    before: behind a broken layer every tensor is bad.
**local**
    ``r`` is what the FP32 layers make of the artifact's *own* tensors before this one. What was inherited is on both
    sides and cancels; a broken layer stands alone. By this figure layers are ranked, and suspects named.

The artifact's tensors come out of a debug build of its own file (``edgecvx.export.formats``), in its own runtime; the
tensors correspond because the reference is the canonical graph with the artifact's own folds. Only one group of tensors
is held in memory at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.accuracy.layers.reference import CanonicalReference, Tensor, canonical_reference
from edgecvx.accuracy.layers.score import Score
from edgecvx.accuracy.runtime_used import runtime_used
from edgecvx.board.batches import batches
from edgecvx.data.preprocess import PictureSource, prepare_batch
from edgecvx.errors import ArtifactError, EdgecvxError, UsageError
from edgecvx.export.base import load_attribute
from edgecvx.export.formats import get_format
from edgecvx.files import verify_files
from edgecvx.graph.scheme import RETURNS_FLOATS
from edgecvx.manifest import Manifest, locate, read_manifest, without_manifests
from edgecvx.proof.selfcheck import channels_first
from edgecvx.results.accuracy import LayerError, Validation
from edgecvx.results.layers import INT8
from edgecvx.runtimes import NO_OPTIONS, open_session
from edgecvx.runtimes.base import Session
from edgecvx.spec import Layout
from edgecvx.targets import get_target

Array = NDArray[Any]

LAYERS = ("conv", "depthwise", "Gemm")
"""The kinds of layer, by how they begin, that a scheme may put into int8."""
GROUP_BYTES = 256 << 20
"""Inner tensors asked for at once, counted in float32. The artifact's, the reference's and the local ones are held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerLayer:
    """The inner tensors of one artifact against FP32."""

    artifact: str
    """File name."""
    runtime: str
    pictures: int
    layers: tuple[LayerError, ...]
    """In the order of the network."""
    not_shown: tuple[str, ...]
    """Canonical values the file computes inside of another op, so that they cannot be looked at."""
    notes: tuple[str, ...] = ()


def per_layer(
    artifact: Path,
    *,
    checkpoint: Path | Sequence[Path] | None = None,
    pictures: int = 4,
    sources: Sequence[PictureSource] = (),
    threads: int = 1,
    options: Mapping[str, str] = NO_OPTIONS,
    group_bytes: int = GROUP_BYTES,
    on_group: Callable[[int, int], None] | None = None,
) -> PerLayer:
    """Compares every inner tensor of an artifact with the FP32 network's.

    Args:
        artifact: The file ``edgecvx export`` wrote, or its manifest. A file that was changed since is examined too,
            and a note says so.
        checkpoint: Where the weights lie, or several files of which one holds them; needed where they came from a file.
        pictures: How many drawn pictures, where no ``sources`` are given.
        sources: The pictures to look at.
        threads: How many threads runtime and reference may use.
        options: Options of the runtime.
        group_bytes: Inner tensors asked for at once.
        on_group: Called with (done, total) before each group of tensors.

    Raises:
        EdgecvxError: The artifact cannot be opened, or its weights cannot be found.
    """
    path, _ = locate(artifact)
    manifest = read_manifest(path)
    if pictures < 1 and not sources:
        raise UsageError(f"{pictures} pictures are too few to compare anything")
    chosen = list(sources) or _drawn(pictures, manifest)
    checkpoints = [checkpoint] if isinstance(checkpoint, Path) else list(checkpoint or ())
    reference = canonical_reference(manifest, checkpoints, threads=threads)
    inner: Mapping[str, str] = load_attribute(get_format(manifest.format).inner_tensors)(path)
    own = {canonical: name for canonical, name in inner.items() if not _rescaled(manifest, canonical)}
    shown = [
        _marked_int8(tensor, reference.hidden(tensor.name, own), manifest)
        for tensor in reference.tensors
        if tensor.name in own
    ]
    if not shown:
        raise ArtifactError(f"{path.name} has no tensor that carries a canonical name: it was not written by edgecvx")
    scores = {tensor.name: Score() for tensor in shown}
    compared = _Comparison(
        path=path,
        manifest=manifest,
        own=own,
        reference=reference,
        pictures=chosen,
        threads=threads,
        options=options,
    )
    groups = list(_groups(shown, group_bytes))
    for number, group in enumerate(groups):
        if on_group is not None:
            on_group(number, len(groups))
        compared.run([tensor.name for tensor in group], scores)
    depth = {tensor.name: i for i, tensor in enumerate(reference.tensors)}
    return PerLayer(
        artifact=path.name,
        runtime=runtime_used(manifest),
        pictures=len(chosen),
        layers=tuple(scores[tensor.name].result(tensor, depth[tensor.name]) for tensor in shown),
        not_shown=tuple(tensor.name for tensor in reference.tensors if tensor.name not in own),
        notes=_notes(manifest, path),
    )


def _rescaled(manifest: Manifest, name: str) -> bool:
    """Whether a tensor is not the canonical one: a plan's smoothing rescales what GRN hands to fc2, channel by channel.

    GRN and fc2 are looked at as one there, between the activation function and fc2's output.
    """
    planned = manifest.quantized is not None and manifest.quantized.plan_sha256 is not None
    return planned and name.endswith(".mlp.grn")


def _marked_int8(tensor: Tensor, hidden: Sequence[Tensor], manifest: Manifest) -> Tensor:
    """A tensor of a kind of its own where int8 is in its step, so that it is not measured against float ones."""
    if any(_is_int8(layer, manifest) for layer in (tensor, *hidden)):
        return dataclasses.replace(tensor, kind=f"{tensor.kind}{INT8}")
    return tensor


def _is_int8(tensor: Tensor, manifest: Manifest) -> bool:
    """Whether a tensor is what a layer returns that is computed in int8."""
    scheme = get_target(manifest.target).schemes.get(manifest.precision)
    if scheme is None or not tensor.kind.startswith(LAYERS) or not scheme.quantizes(tensor.name):
        return False
    return manifest.kept_float.get(tensor.name, RETURNS_FLOATS).startswith(RETURNS_FLOATS)


def with_layers(
    validation: Validation,
    artifacts: Sequence[Path],
    **options: Any,
) -> Validation:
    """A validation with the inner tensors of each of its artifacts.

    An artifact that could not be run is left as it is, and one that cannot be looked into becomes a warning.

    Args:
        validation: What was measured.
        artifacts: The paths that were given for it, in the same order.
        options: Of ``per_layer``.
    """
    outcomes, warnings = [], list(validation.warnings)
    for outcome, path in zip(validation.artifacts, without_manifests(artifacts), strict=True):
        if outcome.error is None:
            try:
                found = per_layer(path, **options)
            except EdgecvxError as error:
                warnings.append(f"{outcome.identity.file} cannot be looked into: {error}")
            else:
                outcome = dataclasses.replace(outcome, layers=found.layers)
                warnings += found.notes
        outcomes.append(outcome)
    return dataclasses.replace(validation, artifacts=tuple(outcomes), warnings=tuple(warnings))


def as_canonical(array: Array, layout: Layout, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A file's tensor as the canonical graph has it: NCHW and float32.

    Files keep maps channels first, channels last, or as rows: ``[B * H * W, C]``, one pixel each.

    Raises:
        ArtifactError: The tensor is none of these.
    """
    canonical = channels_first(array, layout)
    if canonical.ndim == 2 and len(shape) == 4:
        batch, channels, height, width = shape
        if array.shape == (batch * height * width, channels):
            canonical = array.reshape(batch, height, width, channels).transpose(0, 3, 1, 2)
    if canonical.shape != shape:
        raise ArtifactError(f"a tensor of shape {array.shape} is not the canonical one of shape {shape} in any layout")
    return np.ascontiguousarray(canonical, dtype=np.float32)


def _drawn(count: int, manifest: Manifest) -> list[PictureSource]:
    from PIL import Image

    from edgecvx.data.demo import picture

    size = manifest.model.preprocess.size
    return [Image.fromarray(picture(i, stream="validation", size=size)[0]) for i in range(count)]


def _notes(manifest: Manifest, path: Path) -> tuple[str, ...]:
    try:
        verify_files(manifest, path.parent)
    except ArtifactError as error:
        return (f"{error}. What follows was measured on the file as it is now",)
    return ()


def _groups(tensors: Sequence[Tensor], limit: int) -> Iterator[list[Tensor]]:
    """Consecutive tensors that together stay below the limit; at least one each."""
    group: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if group and size + tensor.bytes > limit:
            yield group
            group, size = [], 0
        group.append(tensor)
        size += tensor.bytes
    if group:
        yield group


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """An artifact, its reference, and the pictures that go through both."""

    path: Path
    manifest: Manifest
    own: Mapping[str, str]
    """Canonical names of the tensors the artifact can show, and what it calls them."""
    reference: CanonicalReference
    pictures: Sequence[PictureSource]
    threads: int
    options: Mapping[str, str]

    def run(self, names: Sequence[str], scores: Mapping[str, Score]) -> None:
        """All pictures through one debug build and both sides of the reference; adds up what they differ by."""
        reference, manifest, own = self.reference, self.manifest, self.own
        given = reference.boundary(names, list(own))
        exposed = [own[name] for name in dict.fromkeys([*given, *names])]
        canonical = {own[name]: name for name in (*given, *names)}
        values, steps = reference.values(names), reference.steps(names, given)
        with tempfile.TemporaryDirectory(prefix="edgecvx-debug-") as folder:
            debug_build = load_attribute(get_format(manifest.format).expose)(self.path, exposed)
            opened = _write(Path(folder), self.path.stem, debug_build)
            session = open_session(runtime_used(manifest), opened, threads=self.threads, options=self.options)
            with contextlib.closing(session):
                for batch, kept in batches(self.pictures, manifest.input.shape[0]):
                    seen = self._seen(session, batch, canonical)
                    fed = {reference.input.name: prepare_batch(batch, manifest.model.preprocess, reference.input)}
                    expected, born = values.run(fed), steps.run(fed | seen)
                    for name in names:
                        scores[name].add(*(part[name][:kept] for part in (seen, expected, born)))

    def _seen(self, session: Session, batch: Sequence[PictureSource], canonical: Mapping[str, str]) -> dict[str, Array]:
        """The artifact's tensors, by canonical name and in canonical form."""
        layouts = {spec.name: spec.layout for spec in session.outputs}
        returned = session.run(prepare_batch(batch, self.manifest.model.preprocess, self.manifest.input))
        return {
            canonical[name]: as_canonical(array, layouts[name], self.reference.shape(canonical[name]))
            for name, array in returned.items()
            if name in canonical
        }


def _write(folder: Path, stem: str, files: Mapping[str, bytes]) -> Path:
    """Writes a debug build; returns what a runtime opens."""
    for suffix, content in files.items():
        target = folder / (stem + suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    first = next(iter(files))
    return folder / (stem + first.partition("/")[0])
