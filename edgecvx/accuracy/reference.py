"""The reference of an artifact: FP32 PyTorch, unfolded, made again from where the manifest says the weights came from.

Its answers are kept on the disk by the hash of picture, weights and preprocessing, so that ten artifacts of one model
cost one run of it, and so does the eleventh tomorrow.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.accuracy.cache import RowStore, picture_key
from edgecvx.board.device.processors import Processor, this_processor
from edgecvx.data.dataset import Sample
from edgecvx.data.preprocess import as_input
from edgecvx.data.streaming import prepared, processors
from edgecvx.errors import CheckpointError, EdgecvxError, missing_package
from edgecvx.manifest import Manifest
from edgecvx.results.accuracy import ReferenceInfo
from edgecvx.runtimes.base import run_batches
from edgecvx.runtimes.logits import told_apart
from edgecvx.runtimes.memory import keep_freed_memory
from edgecvx.spec import ModelSpec, PreprocessSpec, Task, to_json

if TYPE_CHECKING:
    from edgecvx.models.load import LoadedModel

Array = NDArray[Any]

CACHED_BYTES = 64 << 10
"""The most that is kept of one picture: logits and vectors always, feature maps never; those are computed again."""
_VERSION = 3
"""Of what a row means."""
_ROOM = 1 << 30
"""Bytes that the batches which are run at once may take, by the activations of their first and widest stage."""


def rebuild(manifest: Manifest, checkpoints: Sequence[Path] = ()) -> LoadedModel:
    """The network that an artifact was exported from, with its weights.

    For published, demo and random weights the preprocessing is found anew with them, so that a manifest that was
    changed cannot change the reference too. A file of weights carries none that could be relied on: there the
    manifest's holds.

    Args:
        manifest: The artifact's.
        checkpoints: Files to look through, where the weights came from a file or a module; for a module any file that
            holds its tensors will do.

    Raises:
        RuntimeUnavailableError: PyTorch is not installed.
        CheckpointError: The weights cannot be found, or are not those of the artifact.
    """
    try:
        from edgecvx.models.load import load_model
    except ModuleNotFoundError as error:
        raise missing_package(f"{error.name}, which the FP32 reference needs,", "onnx") from error
    spec = manifest.model
    source = spec.weights
    if source.brought:
        return _from_file(spec, checkpoints)
    name = source.ref if source.kind == "imagenet" else spec.arch.name
    seed = int(source.ref.removeprefix("seed ")) if source.kind == "random" else 0
    loaded = load_model(name, weights=source.kind, image_size=spec.preprocess.size, seed=seed)
    if loaded.spec.weights.sha256 != source.sha256:
        raise CheckpointError(
            f"the {source.kind} weights {source.ref} are not those of this artifact any more (SHA-256 "
            f"{loaded.spec.weights.sha256[:12]}… instead of {source.sha256[:12]}…): export it again"
        )
    return loaded


def _from_file(spec: ModelSpec, checkpoints: Sequence[Path]) -> LoadedModel:
    """The network out of the one file that has the manifest's hash; the architecture is the manifest's."""
    from edgecvx.models.assemble import content_sha256
    from edgecvx.models.checkpoints import build, read_checkpoint
    from edgecvx.models.load import LoadedModel
    from edgecvx.models.weightfile import SAVED_NAMES, read_weight_file

    source = spec.weights
    for path in checkpoints:
        path = next((path / name for name in SAVED_NAMES if (path / name).is_file()), path)
        file = read_weight_file(path)
        arch, in_memory = spec.arch, source.kind == "module"
        if in_memory or file.sha256 == source.sha256:
            found = read_checkpoint(file, variant=arch, act=arch.act, head_norm_eps=arch.head_norm_eps)
            if in_memory and content_sha256(found) != source.sha256:
                continue
            # A layout that leaves no trace of activation and epsilons must not lose what the manifest knows of them.
            found = dataclasses.replace(found, arch=arch)
            return LoadedModel(module=build(found), spec=spec, warnings=())
    if not checkpoints and source.kind == "module":
        raise CheckpointError(
            f"the reference needs the module this artifact came from: give validate(…, reference=model), or save the "
            f"weights of {source.ref} and give them with checkpoints=[…] (--checkpoint)"
        )
    if not checkpoints:
        raise CheckpointError(f"the reference needs the weights this artifact came from: --checkpoint {source.ref}")
    raise CheckpointError(
        f"no checkpoint given has the SHA-256 {source.sha256[:12]}… of {source.ref}, which this artifact came from"
    )


class Reference:
    """FP32 PyTorch over pictures, with a memory.

    Args:
        loaded: The network.
        task: What it returns.
        cache: The cache folder.
        batch: Pictures per run.
        threads: How many batches may be run at once; None as many as there are processors. Each is run by one thread:
            PyTorch's sums depend, in their last bits, on how many share one, and the same pictures must give the same
            report on every machine.
        probabilities: Whether it stands beside a file that returns those; its answers are cut as that one's.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        task: Task,
        cache: Path,
        batch: int,
        threads: int | None,
        probabilities: bool = False,
    ) -> None:
        from edgecvx.runtimes import torch

        keep_freed_memory()
        self.spec = loaded.spec
        self.preprocess: PreprocessSpec = loaded.spec.preprocess
        size = self.preprocess.size
        self.abreast = _abreast(loaded.spec, batch, threads)
        """Batches that are run at once."""
        self._lock = threading.Lock()
        # Always whole batches, filled up: a picture's answer then does not depend on where it came in the order.
        self._session = torch.TorchSession(loaded.module, task=task, image_size=size, batch=batch, threads=1)
        self._batch = batch
        self._probabilities = probabilities
        self._torch = torch.version()
        self._shapes = [spec.shape[1:] for spec in self._session.outputs]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self.what = {
            "version": _VERSION,
            "reference": self._torch,
            "weights": self.spec.weights.sha256,
            "arch": to_json(self.spec.arch),
            "preprocess": to_json(self.preprocess),
            "task": task.value,
            # A home may be shared between machines: answers are those of one class of processors.
            "processor": processor_key(this_processor()),
        }
        """Everything its answers depend on beside the picture."""
        self.row = row_of(sum(self._sizes))
        """The type of what is kept of a picture; None where nothing is."""
        self._store = RowStore(cache, self.what, self.row) if self.row is not None else None
        self.computed = 0
        """Answers that were not in the cache."""

    def info(self, from_cache: int) -> ReferenceInfo:
        """What a report says of it, of whose answers so many were known."""
        return ReferenceInfo(
            model=self.spec.name,
            weights=self.spec.weights,
            preprocess=self.preprocess,
            torch=self._torch,
            from_cache=from_cache,
        )

    def answer(self, samples: Sequence[Sample], pixels: Array) -> list[Array]:
        """The outputs for pictures, one array per output, NCHW or NC; several threads may ask at once.

        Args:
            samples: Which pictures.
            pixels: What the network sees of them, before normalization, bytes in NHWC.
        """
        if self._store is None:
            with self._lock:
                self.computed += len(samples)
            return self.run(self._as_input(pixels))  # so large that it is no classifier's
        keys = [picture_key(sample.sha256) for sample in samples]
        new = [i for i, key in enumerate(keys) if key not in self._store]
        found = self._computed(self._as_input(pixels[new])) if new else []
        with self._lock:
            self.computed += len(new)
            if new:
                rows = np.concatenate([output.reshape(len(new), -1) for output in found], axis=1)
                self._store.add([keys[i] for i in new], rows)
            rows = self._store.get(keys)
        ends = np.cumsum(self._sizes)[:-1]
        parts = np.split(rows, ends, axis=1)
        return self._told([part.reshape(len(keys), *shape) for part, shape in zip(parts, self._shapes, strict=True)])

    def remembered(self, samples: Sequence[Sample]) -> Array:
        """The rows of pictures that were answered."""
        if self._store is None:
            return np.zeros(0, np.float32)
        with self._lock:
            return self._store.get([picture_key(sample.sha256) for sample in samples])

    def remember(self, samples: Sequence[Sample], rows: Array) -> None:
        """Takes rows that somebody else computed."""
        if self._store is not None and len(rows):
            with self._lock:
                self._store.add([picture_key(sample.sha256) for sample in samples], rows)

    def knows(self, samples: Sequence[Sample]) -> bool:
        """Whether nothing has to be computed for these pictures."""
        return self._store is not None and all(picture_key(sample.sha256) in self._store for sample in samples)

    def run(self, images: Array) -> list[Array]:
        """The outputs for any number of inputs, float32 NCHW, batches of them at once; nothing is remembered."""
        return self._told(self._computed(images))

    def _told(self, outputs: list[Array]) -> list[Array]:
        """What can be compared with a file's answers."""
        return [told_apart(output) for output in outputs] if self._probabilities else outputs

    def _computed(self, images: Array) -> list[Array]:
        batches = [images[start : start + self._batch] for start in range(0, len(images), self._batch)]
        ran = list(prepared(lambda batch: run_batches(self._session, batch), batches, threads=self.abreast))
        outputs = [np.concatenate([outputs[spec.name] for outputs in ran]) for spec in self._session.outputs]
        if not all(np.isfinite(output).all() for output in outputs):
            raise EdgecvxError(f"the reference {self.spec.name} itself gives NaN or infinite values on these pictures")
        return outputs

    def _as_input(self, pixels: Array) -> Array:
        return as_input(pixels, self.preprocess, self._session.inputs[0])

    def close(self) -> None:
        """Closes the files of the cache."""
        if self._store is not None:
            self._store.close()


def row_of(values: int) -> np.dtype[Any] | None:
    """The type of a reference's row of so many values; None where that is too much to be kept."""
    row = np.dtype((np.float32, (values,)))
    return row if row.itemsize <= CACHED_BYTES else None


def processor_key(processor: Processor) -> list[str | None]:
    """What answers depend on of a processor."""
    return [processor.machine, processor.kind or processor.name]


def _abreast(spec: ModelSpec, batch: int, threads: int | None) -> int:
    """How many batches may be run at once, for the processors and the memory there are."""
    pixels = (spec.preprocess.size // 4) ** 2
    hidden = 4 * spec.arch.dims[0]  # of a block of the first stage; three of these, and floats
    return max(1, min(threads or processors(), _ROOM // (batch * pixels * hidden * 12)))
