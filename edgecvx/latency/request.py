"""What is asked to run: every artifact, in every runtime and number of threads that was asked for, as one job.

An artifact with another interpreter or other threads is another measurement in a process of its own, in turn with
all others, with a row of its own in every table.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from edgecvx.board import PROTOCOL, engines
from edgecvx.data import demo
from edgecvx.data.dataset import DEMO, NO_TRUTH, open_data
from edgecvx.data.preprocess import load_picture, prepare_batch
from edgecvx.errors import ArtifactError, ImageError, RuntimeUnavailableError, UsageError
from edgecvx.export.formats import get_format
from edgecvx.files import read_artifact
from edgecvx.inspection.artifact import inspect
from edgecvx.latency.devices.base import PATIENCE
from edgecvx.latency.devices.job import Job
from edgecvx.manifest import Manifest
from edgecvx.native.platforms import is_for_platform
from edgecvx.results.accuracy import ArtifactIdentity
from edgecvx.results.identity import distinct_names, identity_of
from edgecvx.results.latency import Measured, Protocol
from edgecvx.runtimes import check_threads
from edgecvx.runtimes.base import Array, check_runtime, translate_errors
from edgecvx.runtimes.proof import limit_of, probes_for, remedy
from edgecvx.spec import PreprocessSpec, Task, to_json

PICTURES = 8
"""Pictures of the end-to-end part: enough that no cache holds them all decoded, few enough to copy to a board."""
_PHOTO = (640, 480)
"""Pixels of a drawn picture: what a camera module gives a classifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeChoice:
    """A runtime with options: ``tflite:delegate=none``."""

    runtime: str
    options: Mapping[str, str]


def read_choice(text: str) -> RuntimeChoice:
    """The choice that ``NAME[:KEY=VALUE,…]`` names.

    Raises:
        UsageError: Name, key or value is unknown.
    """
    name, colon, rest = text.partition(":")
    check_runtime(name)
    options: dict[str, str] = {}
    if colon and not engines.engine(name).OPTIONS:
        raise UsageError(f"--runtime {text} does not work: {name} has no options")
    for pair in rest.split(",") if colon else ():
        key, equals, value = pair.partition("=")
        if not equals or not value:
            raise UsageError(f"--runtime {text} does not work: after the colon it takes KEY=VALUE, with commas between")
        with translate_errors(name):
            engines.check_options(name, {key: value}, engines.engine(name).OPTIONS)
        if key in options:
            raise UsageError(f"--runtime {text} says {key} twice: another choice is another --runtime")
        options[key] = value
    return RuntimeChoice(runtime=name, options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFiles:
    """One artifact, checked."""

    path: Path
    manifest: Manifest

    @classmethod
    def read(cls, path: str | Path) -> ArtifactFiles:
        """Finds an artifact and holds its files to its manifest."""
        artifact, manifest = read_artifact(path)
        check_runtime(manifest.runtime)
        return cls(path=artifact, manifest=manifest)

    @property
    def identity(self) -> ArtifactIdentity:
        """Which artifact it is; the runtime's version is the device's to tell."""
        return identity_of(self.path, self.manifest, None)

    @property
    def batch(self) -> int:
        """Pictures a run."""
        return self.manifest.input.shape[0]

    def files(self, folder: str) -> tuple[str, dict[str, Path | bytes]]:
        """The path a runtime opens and every file, below ``folder`` on the device, under names made up here."""
        suffixes = get_format(self.manifest.format).suffixes
        stem, files, made_of = self.path.name.removesuffix(suffixes[0]), dict[str, Path | bytes](), dict[str, None]()
        for entry in self.manifest.files:
            file, *inside = PurePosixPath(entry.path).parts  # more than one part: a package, which is a folder
            suffix = file.removeprefix(stem)
            made_of[suffix] = None
            files["/".join((f"{folder}/model{suffix}", *inside))] = self.path.parent / entry.path
        own = tuple(suffix for suffix in made_of if not is_for_platform(suffix))
        if own != suffixes or len(files) != len(self.manifest.files):
            raise ArtifactError(f"{self.path.name} is made of other files than {', '.join(suffixes)}: export it again")
        return f"{folder}/model{suffixes[0]}", files


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The pictures of a benchmark, encoded as they came."""

    name: str
    """Of the folder, or ``demo``."""
    files: Mapping[str, bytes]
    """By their names on the device."""


def read_pictures(data: str | Path, seed: int) -> Pictures:
    """The first readable pictures of a folder in the order of the seed, or drawn ones.

    Raises:
        EdgecvxError: The folder cannot be listed, or holds no picture that can be read.
    """
    if data == DEMO:
        drawn = {f"pictures/{i}.jpg": _drawn(seed * PICTURES + i) for i in range(PICTURES)}
        return Pictures(name=DEMO, files=drawn)
    found = open_data(data, num_classes=0, truth=NO_TRUTH, limit=4 * PICTURES, seed=seed)
    files: dict[str, bytes] = {}
    for sample in found.samples:
        if sample.path is None or len(files) == PICTURES:
            continue
        with contextlib.suppress(ImageError, OSError):
            content = sample.path.read_bytes()
            load_picture(content, PreprocessSpec())
            files[f"pictures/{len(files)}.img"] = content
    if not files:
        raise ImageError(f"{found.name}: none of {len(found.samples)} pictures can be decoded")
    return Pictures(name=found.name, files=files)


def _drawn(index: int) -> bytes:
    width, height = _PHOTO
    pixels, _ = demo.picture(index, size=width)
    top = (width - height) // 2
    with io.BytesIO() as stream:
        Image.fromarray(pixels[top : top + height]).save(stream, "JPEG", quality=90)
        return stream.getvalue()


def read_threads(threads: Sequence[int | None] | None) -> tuple[int | None, ...]:
    """The numbers of threads to measure with, each once; None leaves it to the runtimes, alone or among others."""
    if threads is None:
        return (None,)
    for n in threads:
        check_threads(n)
    if not threads:
        raise UsageError("--threads names no number of threads")
    return tuple(dict.fromkeys(threads))


def make_job(
    artifact_files: Sequence[ArtifactFiles],
    *,
    threads: Sequence[int | None],
    choices: Sequence[RuntimeChoice],
    pictures: Pictures,
    protocol: Protocol,
) -> tuple[Job, tuple[Measured, ...]]:
    """The job that measures all of them, and what is known of each request before."""
    opened = {c.manifest.runtime for c in artifact_files}
    for choice in choices:
        if choice.runtime not in opened:
            known = " and ".join(sorted(opened))
            raise UsageError(f"--runtime {choice.runtime} opens none of the artifacts: they are for {known}")
    files: dict[str, Path | bytes] = dict(pictures.files)
    arrays: dict[str, str] = {}
    orders: list[dict[str, Any]] = []
    measured: list[Measured] = []
    names = distinct_names([c.path for c in artifact_files])
    for index, artifact in enumerate(artifact_files):
        identity = dataclasses.replace(artifact.identity, file=names[index])
        path, parts = artifact.files(f"a{index}")
        files |= parts
        array = _array_of(artifact.manifest, pictures, arrays, files)
        probes = _probes_of(artifact.manifest, arrays, files)
        share = _int8_share(artifact)
        options = [c.options for c in choices if c.runtime == artifact.manifest.runtime] or [{}]
        for chosen in options:
            for n in threads:
                request = requested(f"a{len(measured)}", artifact, identity, n, chosen, share)
                measured.append(request)
                orders.append(_order_of(request, artifact.manifest, path, array, probes))
    return Job(order=_order(orders, pictures, protocol), files=files), tuple(measured)


def _order(artifacts: Sequence[Mapping[str, Any]], pictures: Pictures, protocol: Protocol) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "artifacts": list(artifacts),
        "pictures": list(pictures.files),
        "rounds": protocol.rounds,
        "runs": protocol.runs,
        "seconds": protocol.seconds,
        "end_to_end": protocol.end_to_end,
        "memory": protocol.memory,
        "sustained_minutes": protocol.sustained_minutes,
        "warm_up": warm_up(),
        "seed": protocol.seed,
        "first_round": 0,
        "skip": {},
        "remove": False,
        "lifeline_seconds": 60,
        "patience_seconds": PATIENCE + 2 * (protocol.seconds or 0) / protocol.rounds,
    }


def warm_up() -> dict[str, Any]:
    """How long a file is warmed up, as the runner reads it."""
    return {"window": 10, "tolerance": 0.02, "max_runs": 500, "max_seconds": 20}


def proved(manifest: Manifest, options: Mapping[str, str], probes: str) -> dict[str, Any]:
    """What a device holds a file to: the proof, and how far it may be from that."""
    return {
        "proof": to_json(manifest.proof),
        "probes": probes,
        "limit": limit_of(manifest, manifest.runtime, options),
        "remedy": remedy(manifest),
    }


def _order_of(request: Measured, manifest: Manifest, path: str, array: str, probes: str) -> dict[str, Any]:
    return {
        "id": request.id,
        "runtime": manifest.runtime,
        "path": path,
        "threads": request.threads,
        "options": dict(request.options),
        "input": to_json(manifest.input),
        "array": array,
        "preprocess": to_json(manifest.model.preprocess),
        "logits": manifest.outputs[0].name if manifest.task is Task.CLASSIFY else None,
        "proved": proved(manifest, request.options, probes),
    }


def _array_of(manifest: Manifest, pictures: Pictures, known: dict[str, str], files: dict[str, Path | bytes]) -> str:
    """The name of the array that is the input of the model alone: pictures, prepared as the manifest says.

    A network sees pictures: numbers of any other distribution might meet other branches of a kernel.
    """
    key = json.dumps([to_json(manifest.input), to_json(manifest.model.preprocess)])
    if key not in known:
        contents = list(pictures.files.values())
        batch = [contents[i % len(contents)] for i in range(manifest.input.shape[0])]
        known[key] = f"inputs/{len(known)}.npy"
        files[known[key]] = _saved(prepare_batch(batch, manifest.model.preprocess, manifest.input))
    return known[key]


def _probes_of(manifest: Manifest, known: dict[str, str], files: dict[str, Path | bytes]) -> str:
    """The name of the array of the probe pictures, as a device gives them to a file that was not proved on its like."""
    key = json.dumps(["probes", to_json(manifest.input), to_json(manifest.model.preprocess)])
    if key not in known:
        known[key] = f"inputs/{len(known)}.npy"
        files[known[key]] = _saved(probes_for(manifest))
    return known[key]


def _saved(array: Array) -> bytes:
    with io.BytesIO() as stream:
        np.save(stream, array, allow_pickle=False)
        return stream.getvalue()


def requested(
    name: str,
    artifact: ArtifactFiles,
    identity: ArtifactIdentity,
    threads: int | None,
    options: Mapping[str, str],
    int8_share: float | None,
) -> Measured:
    """What is known of an artifact before it is measured, under the id ``name``."""
    manifest = artifact.manifest
    quantized = manifest.quantized
    return Measured(
        id=name,
        identity=identity,
        weights=manifest.model.weights,
        calibration=None if quantized is None else quantized.calibration,
        fp32_bytes=None if quantized is None else quantized.fp32_bytes,
        int8_share=int8_share,
        kept_float=manifest.kept_float,
        batch=artifact.batch,
        threads=threads,
        options=options,
        backend=None,
        arithmetic=None,
    )


def _int8_share(artifact: ArtifactFiles) -> float | None:
    """None for a file of floats, and where what reads the ops of its format is not installed here."""
    if artifact.manifest.quantized is None:
        return None
    try:
        return inspect(artifact.path).integer_share
    except RuntimeUnavailableError:
        return None
