"""The reference: the network in FP32 PyTorch, unfolded, behind the same interface as the files."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgecvx.errors import UsageError, missing_package
from edgecvx.runtimes.base import Array, check_batch
from edgecvx.spec import Layout, Task, TensorSpec, check_image_size

if TYPE_CHECKING:
    from edgecvx.models.convnext import ConvNeXt


def version() -> str:
    """PyTorch's version.

    Raises:
        RuntimeUnavailableError: It is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise missing_package("PyTorch", "onnx") from error
    return str(torch.__version__)


class _Threads:
    """PyTorch's thread count; the last of those that run at once gives it back.

    OpenMP's part of it belongs to the thread, but MKL's to the process: given back while another thread is in a matrix
    product, it would change that one's last digits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 1

    @contextlib.contextmanager
    def limited(self, threads: int | None) -> Iterator[None]:
        """So many for what this thread runs in here."""
        import torch

        with self._lock:
            if not self._users:
                self._before = torch.get_num_threads()
            self._users += 1
            torch.set_num_threads(threads or self._before)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    torch.set_num_threads(self._before)


_THREADS = _Threads()


class TorchSession:
    """A network as a ``Session``: float32 NCHW in, the task's outputs out."""

    def __init__(
        self,
        module: ConvNeXt,
        *,
        task: Task = Task.CLASSIFY,
        image_size: int = 224,
        batch: int = 1,
        threads: int | None = None,
    ) -> None:
        if batch < 1:
            raise UsageError(f"batch {batch} does not work: it must be at least 1")
        if task is Task.CLASSIFY and not module.num_classes:
            raise UsageError(f"{module.arch.name} has no classifier; ask for task features or embed")
        version()
        self._module, self._task, self._threads = module.eval(), task, threads
        size = check_image_size(image_size)
        self.inputs = (TensorSpec(name="image", shape=(batch, 3, size, size), dtype="float32", layout="NCHW"),)
        self.outputs = _outputs(module, task, size, batch)

    def run(self, batch: Array) -> dict[str, Array]:
        """Runs one batch; the outputs by name."""
        import torch

        from edgecvx.models.convnext import outputs_of

        x = torch.from_numpy(check_batch(batch, self.inputs[0]))
        with _THREADS.limited(self._threads), torch.inference_mode():
            arrays = [np.asarray(y.numpy()) for y in outputs_of(self._module, x, self._task.value)]
        return {spec.name: array for spec, array in zip(self.outputs, arrays, strict=True)}

    def close(self) -> None:
        """Nothing to free: the network belongs to the caller."""


def _outputs(module: ConvNeXt, task: Task, size: int, batch: int) -> tuple[TensorSpec, ...]:
    dims = module.arch.dims
    if task is Task.FEATURES:
        sides = (size // 4, size // 8, size // 16, size // 32)
        return tuple(
            TensorSpec(name=f"feature{i}", shape=(batch, c, side, side), dtype="float32", layout="NCHW")
            for i, (c, side) in enumerate(zip(dims, sides, strict=True))
        )
    layout: Layout = "NC"
    if task is Task.EMBED:
        return (TensorSpec(name="embedding", shape=(batch, dims[-1]), dtype="float32", layout=layout),)
    return (TensorSpec(name="logits", shape=(batch, module.num_classes), dtype="float32", layout=layout),)
