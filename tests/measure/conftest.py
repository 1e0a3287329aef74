"""A small classifier of the drawn pictures, exported once, and ways to break it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import support
from numpy.typing import NDArray

from edgecvx.data import demo
from edgecvx.manifest import Manifest, read_manifest
from edgecvx.measure import feeding
from edgecvx.runtimes.base import Session
from edgecvx.spec import TensorSpec

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """An artifact, the weights it came from, and what its manifest says."""

    path: Path
    checkpoint: Path

    @property
    def manifest(self) -> Manifest:
        return read_manifest(self.path)


@pytest.fixture(scope="session")
def small_classifier(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A seeded network over the drawn pictures' classes, as an ONNX file for 64 pixels."""
    pytest.importorskip("onnxruntime")
    save_file = pytest.importorskip("safetensors.torch").save_file
    from edgecvx.pipeline import export

    folder = tmp_path_factory.mktemp("small")
    checkpoint = folder / "mine.safetensors"
    save_file(support.network(num_classes=len(demo.CLASSES)).state_dict(), str(checkpoint))
    labels = folder / "labels.txt"
    labels.write_text("\n".join(demo.CLASSES))
    (written,) = export(checkpoint, target="onnx", image_size=64, labels=labels, out=folder).artifacts
    return Exported(path=written.path, checkpoint=checkpoint)


class Wrapped:
    """A session with something done to what goes in or comes out; counts its runs."""

    def __init__(self, inner: Session, before: Callable[[Array], Array], after: Callable[[Array], Array]) -> None:
        self._inner, self._before, self._after = inner, before, after
        self.runs = 0

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._inner.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._inner.outputs

    def run(self, batch: Array) -> dict[str, Array]:
        self.runs += 1
        fed = np.ascontiguousarray(self._before(batch), dtype=batch.dtype)
        return {name: self._after(array) for name, array in self._inner.run(fed).items()}

    def close(self) -> None:
        self._inner.close()


Wrap = Callable[..., list[Wrapped]]


@pytest.fixture
def wrap(monkeypatch: pytest.MonkeyPatch) -> Wrap:
    """Makes every artifact be opened in this process with ``before`` and ``after`` around it; lists what was opened."""

    def install(
        before: Callable[[Array], Array] = lambda batch: batch, after: Callable[[Array], Array] = lambda out: out
    ) -> list[Wrapped]:
        from edgecvx.runtimes import open_session

        opened: list[Wrapped] = []

        def open_wrapped(runtime: str, path: Path, *, threads: int | None = None) -> Session:
            opened.append(Wrapped(open_session(runtime, path, threads=1, isolated=False), before, after))
            return opened[-1]

        monkeypatch.setattr(feeding, "open_session", open_wrapped)
        return opened

    return install
