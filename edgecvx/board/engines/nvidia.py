"""The little of CUDA that running an engine takes, asked of NVIDIA's driver itself.

Of the driver, because it is there wherever a GPU is, in the version that goes with it: bindings from a package index
bring a CUDA runtime of their own, which a Jetson's older driver refuses ("driver version is insufficient"). The calls
are those of the CUDA driver API, whose names and types have not changed since CUDA 4.

Tested with a stand-in for the driver that checks what is asked of it; not run on hardware.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from edgecvx.board.engines.base import Absent, Refused

DRIVER = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""
_NAME_BYTES = 256


@dataclass(frozen=True)
class Device:
    """A GPU, as far as an engine depends on it."""

    name: str
    """``Orin``, ``NVIDIA GeForce RTX 3080``."""
    capability: str
    """Compute capability: ``8.7``."""


class Driver:
    """The driver, with the first GPU's primary context: the one TensorRT uses. The process keeps it to its end.

    Raises:
        Absent: There is no driver.
        Refused: There is no GPU.
    """

    def __init__(self) -> None:
        try:
            self._library: Any = ctypes.CDLL(DRIVER)
        except OSError as error:
            raise Absent(
                f"there is no NVIDIA driver here ({DRIVER}): engines are built and run on a machine with an NVIDIA GPU"
            ) from error
        self._device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuInit", ctypes.c_uint(0))
        self.call("cuDeviceGet", ctypes.byref(self._device), ctypes.c_int(0))
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self.use()

    def use(self) -> None:
        """Makes the context current in the calling thread; each thread has its own."""
        self.call("cuCtxSetCurrent", self._context)

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the driver API; every argument is of a ctypes type, as C would take it.

        Raises:
            Refused: With the driver's name of the error.
        """
        error = int(getattr(self._library, name)(*arguments))
        if error:
            name_of_error = ctypes.c_char_p()
            self._library.cuGetErrorName(ctypes.c_int(error), ctypes.byref(name_of_error))
            raise Refused(f"CUDA failed: {(name_of_error.value or b'').decode() or error} in {name}")

    @property
    def device(self) -> Device:
        """The GPU."""
        name = ctypes.create_string_buffer(_NAME_BYTES)
        self.call("cuDeviceGetName", name, ctypes.c_int(_NAME_BYTES), self._device)
        major, minor = (self._attribute(which) for which in (_MAJOR, _MINOR))
        return Device(name=name.value.decode(errors="replace"), capability=f"{major}.{minor}")

    def _attribute(self, which: int) -> int:
        value = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(which), self._device)
        return value.value


class Stream:
    """A stream, and memory on the GPU that lives as long; ``close`` frees both."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._addresses: list[int] = []
        self._stream: ctypes.c_void_p | None = ctypes.c_void_p()
        driver.call("cuStreamCreate", ctypes.byref(self._stream), ctypes.c_uint(0))

    @property
    def handle(self) -> int:
        """For TensorRT."""
        return 0 if self._stream is None else self._stream.value or 0

    def allocate(self, size: int) -> int:
        """An address of that many bytes on the GPU."""
        address = ctypes.c_uint64()
        self._driver.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        self._addresses.append(address.value)
        return address.value

    def upload(self, array: Any, address: int) -> None:
        """Copies an array to the GPU, in the order of the stream."""
        there, here = ctypes.c_uint64(address), ctypes.c_void_p(array.ctypes.data)
        self._driver.call("cuMemcpyHtoDAsync_v2", there, here, ctypes.c_size_t(array.nbytes), self._stream)

    def download(self, address: int, array: Any) -> None:
        """Copies into an array; it is there after ``wait``."""
        here, there = ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(address)
        self._driver.call("cuMemcpyDtoHAsync_v2", here, there, ctypes.c_size_t(array.nbytes), self._stream)

    def wait(self) -> None:
        """Until everything in the stream is done."""
        self._driver.call("cuStreamSynchronize", self._stream)

    def close(self) -> None:
        """Frees the memory and the stream; a second call does nothing."""
        self._driver.use()
        addresses, self._addresses = self._addresses, []
        for address in addresses:
            self._driver.call("cuMemFree_v2", ctypes.c_uint64(address))
        stream, self._stream = self._stream, None
        if stream is not None:
            self._driver.call("cuStreamDestroy_v2", stream)
