"""The little of CUDA that running an engine takes, through NVIDIA's own Python bindings (``cuda-python``).

Tested with a stand-in for the bindings that checks what is asked of them; not run on hardware.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecvx.errors import RuntimeFailedError, missing_package
from edgecvx.runtimes.base import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU, as far as an engine depends on it."""

    name: str
    """``Orin``, ``NVIDIA GeForce RTX 3080``."""
    capability: str
    """Compute capability: ``8.7``."""


def load() -> Any:
    """The runtime API of the bindings.

    Raises:
        RuntimeUnavailableError: They are not installed.
    """
    try:
        from cuda.bindings import runtime
    except ModuleNotFoundError as error:
        raise missing_package("cuda-python, NVIDIA's bindings for CUDA,", "tensorrt") from error
    return runtime


def call(cuda: Any, answer: tuple[Any, ...]) -> Any:
    """What a call returned beside its error, which is raised.

    Raises:
        RuntimeFailedError: The call failed.
    """
    error, *values = answer
    if error != cuda.cudaError_t.cudaSuccess:
        raise RuntimeFailedError(f"CUDA failed: {getattr(error, 'name', error)}")
    return values[0] if values else None


def device(cuda: Any) -> Device:
    """The GPU in use.

    Raises:
        RuntimeFailedError: There is none.
    """
    found = call(cuda, cuda.cudaGetDeviceProperties(call(cuda, cuda.cudaGetDevice())))
    name = found.name.decode(errors="replace") if isinstance(found.name, bytes) else str(found.name)
    return Device(name=name.rstrip("\0"), capability=f"{found.major}.{found.minor}")


class Stream:
    """A CUDA stream, and memory on the GPU that lives as long; ``close`` frees both."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._addresses: list[int] = []
        self._stream: Any = call(cuda, cuda.cudaStreamCreate())

    @property
    def handle(self) -> int:
        """For TensorRT."""
        return int(self._stream)

    def allocate(self, size: int) -> int:
        """An address of that many bytes on the GPU."""
        address = int(call(self._cuda, self._cuda.cudaMalloc(size)))
        self._addresses.append(address)
        return address

    def upload(self, array: Array, address: int) -> None:
        """Copies an array to the GPU, in the order of the stream."""
        self._copy(address, array.ctypes.data, array.nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)

    def download(self, address: int, array: Array) -> None:
        """Copies into an array; it is there after ``wait``."""
        self._copy(array.ctypes.data, address, array.nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost)

    def wait(self) -> None:
        """Until everything in the stream is done."""
        call(self._cuda, self._cuda.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        """Frees the memory and the stream; a second call does nothing."""
        addresses, self._addresses = self._addresses, []
        for address in addresses:
            call(self._cuda, self._cuda.cudaFree(address))
        stream, self._stream = self._stream, None
        if stream is not None:
            call(self._cuda, self._cuda.cudaStreamDestroy(stream))

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        call(self._cuda, self._cuda.cudaMemcpyAsync(target, source, size, kind, self._stream))
