"""Stand-ins for NVIDIA's software on a machine without any: they do what is asked of them, and hold it to the manual.

``tensorrt``: a plan is the ONNX file it was built from, and running it is running that in ONNX Runtime, on arrays that
lie at the addresses it was told. ``libcuda.so.1``: memory of the host, copied as the GPU's would be. What the real ones
ask for and the code must keep (a strongly typed network, an address for each tensor, a stream of one's own, pointers of
64 bits, nothing freed twice) fails here. The names are those of TensorRT 10.3's bindings and of the CUDA driver API.
"""

from __future__ import annotations

import ctypes
import enum
import stat
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

MAGIC = b"pretended plan "
STREAM = (1 << 40) + 17
"""A number of more than 32 bits, as a pointer is."""


class Cuda:
    """``libcuda.so.1``: functions of C, which take ctypes' types and give back an error's number."""

    NO_DEVICE, OUT_OF_MEMORY = 100, 2
    NAMES = {NO_DEVICE: b"CUDA_ERROR_NO_DEVICE", OUT_OF_MEMORY: b"CUDA_ERROR_OUT_OF_MEMORY"}  # noqa: RUF012

    def __init__(self, *, gpu: str | None = "Orin", full: bool = False) -> None:
        self.gpu, self.full = gpu, full
        self.memory: dict[int, Any] = {}
        self.streams: set[int] = set()
        self.pending: list[tuple[int, int, int]] = []
        self.current: set[int] = set()
        """Threads that have the context."""

    def cuInit(self, flags: ctypes.c_uint) -> int:  # noqa: N802
        return 0 if self.gpu else self.NO_DEVICE

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = 1
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 12080
        return 0

    def cuGetErrorName(self, error: ctypes.c_int, told: Any) -> int:  # noqa: N802
        told._obj.value = self.NAMES[error.value]
        return 0

    def cuDeviceGet(self, device: Any, index: ctypes.c_int) -> int:  # noqa: N802
        device._obj.value = 5 + index.value
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: ctypes.c_int) -> int:  # noqa: N802
        assert device.value == 5
        context._obj.value = 1 << 40  # more than 32 bits, as a pointer
        return 0

    def cuCtxSetCurrent(self, context: ctypes.c_void_p) -> int:  # noqa: N802
        assert context.value == 1 << 40
        self.current.add(threading.get_ident())
        return 0

    def _here(self, stream: ctypes.c_void_p) -> None:
        """What every call on a stream needs."""
        assert threading.get_ident() in self.current, "CUDA_ERROR_INVALID_CONTEXT"
        assert stream.value in self.streams

    def cuDeviceGetName(self, name: Any, size: ctypes.c_int, device: ctypes.c_int) -> int:  # noqa: N802
        name.value = (self.gpu or "").encode()[: size.value - 1]
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: ctypes.c_int, device: ctypes.c_int) -> int:  # noqa: N802
        value._obj.value = {75: 8, 76: 7}[which.value]
        return 0

    def cuStreamCreate(self, stream: Any, flags: ctypes.c_uint) -> int:  # noqa: N802
        assert threading.get_ident() in self.current
        stream._obj.value = STREAM
        self.streams.add(STREAM)
        return 0

    def cuStreamSynchronize(self, stream: ctypes.c_void_p) -> int:  # noqa: N802
        self._here(stream)
        for target, source, size in self.pending:
            ctypes.memmove(target, source, size)
        self.pending.clear()
        return 0

    def cuStreamDestroy_v2(self, stream: ctypes.c_void_p) -> int:  # noqa: N802
        self.streams.remove(stream.value or 0)
        return 0

    def cuMemAlloc_v2(self, address: Any, size: ctypes.c_size_t) -> int:  # noqa: N802
        if self.full:
            return self.OUT_OF_MEMORY
        block = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(block)
        self.memory[ctypes.addressof(block)] = block
        return 0

    def cuMemFree_v2(self, address: ctypes.c_uint64) -> int:  # noqa: N802
        del self.memory[address.value]  # a KeyError where it was freed before
        return 0

    def cuMemcpyHtoDAsync_v2(  # noqa: N802
        self, target: ctypes.c_uint64, source: ctypes.c_void_p, size: ctypes.c_size_t, stream: ctypes.c_void_p
    ) -> int:
        """At once: the array may be used again after the call."""
        self._here(stream)
        assert len(self.memory[target.value]) == size.value
        ctypes.memmove(target.value, source.value or 0, size.value)
        return 0

    def cuMemcpyDtoHAsync_v2(  # noqa: N802
        self, target: ctypes.c_void_p, source: ctypes.c_uint64, size: ctypes.c_size_t, stream: ctypes.c_void_p
    ) -> int:
        """Not before the stream is waited for."""
        self._here(stream)
        assert len(self.memory[source.value]) == size.value
        self.pending.append((target.value or 0, source.value, size.value))
        return 0


class _Logger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2

    ERROR = Severity.ERROR

    def __init__(self, severity: Any = None) -> None:
        pass


class TensorRT(ModuleType):
    """``tensorrt``; ``asked`` keeps what a build was asked for."""

    ILogger = Logger = _Logger

    class NetworkDefinitionCreationFlag(enum.IntEnum):
        EXPLICIT_BATCH, STRONGLY_TYPED = 0, 1

    class BuilderFlag(enum.Enum):
        TF32, FP16 = 0, 1

    class MemoryPoolType(enum.Enum):
        WORKSPACE = 0

    class TensorIOMode(enum.Enum):
        INPUT, OUTPUT = 1, 2

    def __init__(self, version: str = "10.3.0.30", *, says: str = "") -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.says = says
        """What is wrong with every file, according to this one."""
        self.asked: dict[str, Any] = {"builds": 0}

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        return _Builder(self, logger)

    def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802
        return _Parser(self, network)

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        return SimpleNamespace(deserialize_cuda_engine=self._opened)

    def nptype(self, kind: str) -> Any:
        return {"float": np.float32, "uint8": np.uint8}[kind]

    def _opened(self, plan: bytes) -> Any:
        return _Engine(self, plan.removeprefix(MAGIC)) if plan.startswith(MAGIC) else None


class _Builder:
    def __init__(self, trt: TensorRT, logger: Any) -> None:
        self._trt, self._logger = trt, logger

    def create_network(self, flags: int) -> Any:
        assert flags == 1 << 1, "the network has to be strongly typed"
        return SimpleNamespace(onnx=b"")

    def create_builder_config(self) -> Any:
        return _Config(self._trt)

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        assert TensorRT.BuilderFlag.TF32 not in config.flags, "float32 would be computed with ten bits of mantissa"
        if self._trt.says == "MemoryError":
            raise MemoryError("not a byte left")
        if self._trt.says:
            self._logger.log(_Logger.Severity.ERROR, self._trt.says)
            return None
        self._trt.asked["builds"] += 1
        return MAGIC + bytes(network.onnx)


class _Config:
    def __init__(self, trt: TensorRT) -> None:
        self._trt = trt
        self.flags = {TensorRT.BuilderFlag.TF32}
        """As the manual says: on, where nobody turns it off."""

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        assert pool is TensorRT.MemoryPoolType.WORKSPACE
        self._trt.asked["workspace"] = size

    def create_timing_cache(self, content: bytes) -> Any:
        self._trt.asked["timings"] = content
        return content

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        return cache in (b"", b"timings")

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: b"timings")


class _Parser:
    num_errors = 1

    def __init__(self, trt: TensorRT, network: Any) -> None:
        self._trt, self._network = trt, network

    def parse(self, content: bytes) -> bool:
        self._network.onnx = content
        return "parser" not in self._trt.says

    def get_error(self, index: int) -> str:
        return f"In node {index}: {self._trt.says}"


class _Engine:
    def __init__(self, trt: TensorRT, content: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self._trt = trt
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.read = {value.name: value for value in self.session.get_inputs()}
        self.given = {value.name: value for value in self.session.get_outputs()}
        self.num_io_tensors = len(self.read) + len(self.given)

    def get_tensor_name(self, index: int) -> str:
        return str([*self.read, *self.given][index])

    def get_tensor_mode(self, name: str) -> Any:
        return TensorRT.TensorIOMode.INPUT if name in self.read else TensorRT.TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> Any:
        return (self.read | self.given)[name].shape

    def get_tensor_dtype(self, name: str) -> str:
        return str((self.read | self.given)[name].type)[len("tensor(") : -1]

    def create_execution_context(self) -> Any:
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in self._engine.read or name in self._engine.given

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == STREAM, "a stream of one's own, and its number"
        (image,) = self._engine.read
        names = list(self._engine.given)
        answers = self._engine.session.run(names, {image: self._seen(image).copy()})
        for name, answer in zip(names, answers, strict=True):
            self._seen(name)[...] = answer
        return True

    def _seen(self, name: str) -> Any:
        """The array at a tensor's address."""
        kind = self._engine._trt.nptype(self._engine.get_tensor_dtype(name))
        shape = tuple(self._engine.get_tensor_shape(name))
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(self._addresses[name]), kind).reshape(shape)


def pretend(patch: pytest.MonkeyPatch, *, trt: TensorRT | None, cuda: Cuda | None) -> None:
    """Puts the stand-ins in the place of package and driver; None for one that is not there."""
    patch.setitem(sys.modules, "tensorrt", trt)

    def opened(name: str) -> Cuda:
        assert name == "libcuda.so.1"
        if cuda is None:
            raise OSError(f"{name}: cannot open shared object file")
        return cuda

    patch.setattr("edgecvx.board.engines.nvidia.ctypes.CDLL", opened)


TRTEXEC = '''#!{python}
"""A stand-in for trtexec: says its version, notes its arguments, writes what it was told to."""
import json, pathlib, sys
print("&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] # trtexec " + " ".join(sys.argv[1:]))
if "--help" in sys.argv:
    sys.exit(0)
options = dict(a.lstrip("-").partition("=")[::2] for a in sys.argv[1:])
pathlib.Path(__file__).with_name("asked.json").write_text(json.dumps(options))
if {fails}:
    print("[11/20/2026-10:00:00] [E] Error[10]: Could not find any implementation for node stem.0.")
    sys.exit(1)
if "loadEngine" in options:
    print("[11/20/2026-10:00:00] [I] GPU Compute Time: min = 0.31 ms, max = 0.4 ms, mean = 0.33 ms, median = 0.321 ms")
    sys.exit(0)
cache = pathlib.Path(options["timingCacheFile"])
cache.write_bytes(cache.read_bytes() + b"+" if cache.exists() else b"timings")
pathlib.Path(options["saveEngine"]).write_bytes(b"pretended plan " + pathlib.Path(options["onnx"]).read_bytes())
print("&&&& PASSED TensorRT.trtexec")
'''


def trtexec(folder: Path, *, version: str = "100300", fails: bool = False) -> Path:
    """Writes a program that does as trtexec does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "trtexec"
    path.write_text(TRTEXEC.format(python=sys.executable, version=version, fails=fails))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
