"""Stand-ins for the tests of the live app: a scripted source, and artifacts whose runtime is a Python function."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from proofs import a_proof
from support import SMALL
from waiting import PATIENCE

from edgecvx.manifest import SUFFIX, FileEntry, Manifest, SelfCheck, read_manifest
from edgecvx.spec import (
    InputKind,
    ModelSpec,
    Precision,
    PreprocessSpec,
    Task,
    TensorSpec,
    WeightsSource,
    to_json,
)
from edgecvx_live.sources.base import Picture, Source, SourceLostError
from edgecvx_live.sources.pipe import PipeSource
from edgecvx_live.values import Pixels

LABELS = ("red star", "blue disc", "green ring")


def grey(level: int, side: int = 64) -> Pixels:
    """A picture of one colour."""
    return np.full((side, side, 3), level, np.uint8)


class ScriptedSource:
    """A source that gives what the test puts in: pictures, or errors to raise."""

    kind, name = "scripted", "the script"

    def __init__(self) -> None:
        self.script: queue.Queue[Pixels | Exception | None] = queue.Queue()
        self.opened = self.closed = 0
        self.refusals: list[Exception] = []
        """Raised by the next calls of ``open``, one each."""
        self._read = threading.Semaphore(0)
        self._stopped = threading.Event()

    def open(self) -> None:
        """Starts, or raises the next refusal."""
        if self.refusals:
            raise self.refusals.pop(0)
        self.opened += 1
        self._stopped.clear()

    def read(self) -> Picture:
        """The next entry of the script."""
        self._read.release()
        while (entry := self.script.get(timeout=PATIENCE)) is None:
            if self._stopped.is_set():  # not the end of the time before
                raise SourceLostError("the script was closed")
        if isinstance(entry, Exception):
            raise entry
        return Picture(pixels=entry, capture_ms=1.0)

    def close(self) -> None:
        """Wakes a ``read``."""
        self.closed += 1
        self._stopped.set()
        self.script.put(None)

    def give(self, entry: Pixels | Exception) -> None:
        """Adds to the script, and waits until all before it was taken in by whoever reads."""
        assert self._read.acquire(timeout=PATIENCE), "nobody reads the source"
        self.script.put(entry)


def patient(source: Source) -> Source:
    """The same, and it waits for a camera's program on a busy machine as the tests do."""
    if isinstance(source, PipeSource):
        source._first = source._following = PATIENCE
    return source


class FakeArtifact:
    """An open artifact that answers with a function of the batch."""

    def __init__(self, manifest: Manifest, answer: Callable[[NDArray[Any]], Sequence[float]]) -> None:
        self.manifest = manifest
        self.closed = False
        self._answer = answer

    def run(self, batch: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """The answer as logits."""
        return {"logits": np.asarray([self._answer(batch)], np.float32)}

    def close(self) -> None:
        """Notes it."""
        self.closed = True


def write_artifact(
    folder: Path, name: str = "model-fp32.tflite", content: bytes = b"not a model", **changes: Any
) -> Path:
    """A file with a sound manifest, by default with a content no runtime would take."""
    outputs = (TensorSpec(name="logits", shape=(1, len(LABELS)), dtype="float32", layout="NC"),)
    changes.setdefault("proof", a_proof(changes.get("outputs", outputs), changes.get("runtime", "tflite"), probes=1))
    manifest = Manifest(
        model=ModelSpec(
            arch=SMALL,
            tag="random",
            num_classes=len(LABELS),
            preprocess=PreprocessSpec(size=32),
            weights=WeightsSource(kind="random", ref="0", layout="timm", sha256="0" * 64),
            labels=LABELS,
        ),
        task=Task.CLASSIFY,
        target="tflite",
        format="tflite",
        runtime="tflite",
        precision=Precision.FP32,
        input_kind=InputKind.UINT8,
        input=TensorSpec(name="image", shape=(1, 32, 32, 3), dtype="uint8", layout="NHWC"),
        outputs=outputs,
        folds=(),
        passes=(),
        kept_float={},
        tools={},
        self_check=SelfCheck(runtime="tflite", probes=1, max_error=0.0, limit=1e-3, cosine=1.0),
        proof=a_proof(outputs, "tflite", probes=1),
        files=(FileEntry(path=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)),),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    (folder / (name + SUFFIX)).write_text(json.dumps(to_json(replace(manifest, **changes))), encoding="utf-8")
    return folder / name


def fake_load(answer: Callable[[NDArray[Any]], Sequence[float]]) -> Callable[[Path], FakeArtifact]:
    """A ``load`` that opens nothing."""
    return lambda path: FakeArtifact(read_manifest(path), answer)
