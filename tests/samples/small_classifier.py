"""A small classifier of the drawn pictures, exported once, and ways to break it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import support
from numpy.typing import NDArray

from edgecvx.accuracy import feeding
from edgecvx.data import demo
from edgecvx.data.preprocess import normalize
from edgecvx.manifest import Manifest, read_manifest
from edgecvx.runtimes.base import Session
from edgecvx.spec import PreprocessSpec, TensorSpec

if TYPE_CHECKING:
    from edgecvx.models.convnext import ConvNeXt

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
    save_file(_fitted().state_dict(), str(checkpoint))
    labels = folder / "labels.txt"
    labels.write_text("\n".join(demo.CLASSES))
    (written,) = export(checkpoint, target="onnx", image_size=64, labels=labels, out=folder).artifacts
    return Exported(path=written.path, checkpoint=checkpoint)


def _fitted() -> ConvNeXt:
    """The small network with a head fitted to drawn pictures, so that its answers depend on what it sees."""
    import torch

    network = support.network(num_classes=len(demo.CLASSES))
    drawn = [demo.picture(index, stream="train", size=64) for index in range(240)]
    pixels = np.stack([normalize(picture, PreprocessSpec(size=64)) for picture, _ in drawn]).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        seen = network.embed(torch.from_numpy(np.ascontiguousarray(pixels))).numpy().astype(np.float64)
    centre, targets = seen.mean(axis=0), 20 * np.eye(len(demo.CLASSES))[[label for _, label in drawn]]
    weight = np.linalg.solve((seen - centre).T @ (seen - centre) + np.eye(seen.shape[1]), (seen - centre).T @ targets)
    assert network.head.fc is not None
    with torch.no_grad():
        network.head.fc.weight.copy_(torch.from_numpy(weight.T))
        network.head.fc.bias.copy_(torch.from_numpy(-centre @ weight))
    return network


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
