"""TensorRT's engines: which one belongs to a file, how it is built with the Python API, and how it is run.

An engine belongs to one file, one TensorRT and one kind of GPU, so all three stand in its name. It is built as a
strongly typed network, which takes the type of every tensor from the file. ``edgecvx.runtimes.tensorrt`` runs engines
with this too: what is timed is what is validated. Tested with stand-ins for TensorRT and CUDA that check what is asked
of them; not run on hardware.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecvx.board.engines.nvidia import Absent, Device, Driver, Failed, Stream
from edgecvx.board.places import cache_folder

OLDEST = (10, 0)
"""The first with strongly typed networks in its Python API and in trtexec, and with INT8 weights as constants."""
ABSENT = (
    "TensorRT is not installed here: on a Jetson it comes with JetPack (sudo apt install nvidia-jetpack; a virtual "
    "environment sees it with --system-site-packages), elsewhere: pip install 'edgecvx[tensorrt]'"
)


class Unreadable(Failed):
    """TensorRT cannot open an engine: it is damaged, or of another TensorRT."""


@dataclass(frozen=True)
class EngineKey:
    """What an engine depends on; DLA is not used, so it is no part of it."""

    sha256: str
    """Of the ONNX file."""
    version: str
    """Of TensorRT, its first three numbers."""
    device: Device

    @property
    def place(self) -> str:
        """TensorRT and GPU, in a file name."""
        gpu = re.sub(r"[^a-z0-9]+", "-", self.device.name.lower()).strip("-") or "gpu"
        return f"trt{self.version}-{gpu}-sm{self.device.capability.replace('.', '')}"

    @property
    def name(self) -> str:
        """The file name of the engine."""
        return f"{self.sha256[:32]}-{self.place}.engine"  # 128 bits: nobody makes two files that share an engine


def engines_folder() -> Path:
    """Where engines lie, if nobody says otherwise. Not beside a file: what came with one is not to be run as code."""
    return cache_folder() / "engines"


def read_trusted(path: Path) -> bytes | None:
    """A file's bytes; None if it is somebody else's, or others may write it: an engine is code."""
    with path.open("rb") as stream:
        if os.name == "posix":
            facts = os.fstat(stream.fileno())  # of the very file that is read
            if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
        return stream.read()


def load_tensorrt() -> Any:
    """TensorRT's Python API.

    Raises:
        Absent: It is not installed, or too old.
    """
    try:
        tensorrt = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise Absent(ABSENT) from error
    except (ImportError, OSError) as error:  # its libraries are missing, or of another CUDA
        raise Absent(f"TensorRT is installed but does not load: {error}") from error
    check_version(short(tensorrt.__version__))
    return tensorrt


def short(version: str) -> str:
    """``10.3.0`` of ``10.3.0.30`` or ``10.3.0.post1``: what the Python API and trtexec both say of themselves."""
    return ".".join(re.findall(r"\d+", version)[:3])


def check_version(version: str) -> None:
    """Refuses a TensorRT that knows no strongly typed networks."""
    if tuple(int(n) for n in version.split(".")[:2]) < OLDEST:
        raise Absent(
            f"TensorRT {version} is too old: edgecvx needs {OLDEST[0]}.{OLDEST[1]} or newer (on a Jetson, JetPack 6.1 "
            "or newer brings it), the first with strongly typed networks"
        )


def build(
    trt: Any, content: bytes, *, name: str, workspace: int | None = None, timings: bytes = b""
) -> tuple[bytes, bytes]:
    """Compiles an ONNX file for the GPU of this machine, which takes minutes.

    Args:
        trt: TensorRT's Python API.
        content: The file.
        name: What the file is called, for errors.
        workspace: MiB that TensorRT may use while it runs a layer; all there is by default.
        timings: What an earlier build gave back as its timings.

    Returns:
        The engine, and the timings for the next build.

    Raises:
        Failed: TensorRT refuses the file.
    """
    logger = _listening(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        told = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise Failed(f"TensorRT cannot read {name}: {short_line(told)}")
    config = builder.create_builder_config()
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace << 20)
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, False):  # of another TensorRT, or damaged
        config.set_timing_cache(config.create_timing_cache(b""), False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Failed(f"TensorRT cannot build {name}: {short_line('; '.join(logger.errors))}")
    return bytes(plan), bytes(config.get_timing_cache().serialize())


@dataclass(frozen=True)
class Port:
    """An input or output of an engine."""

    name: str
    shape: tuple[int, ...]
    dtype: Any
    """numpy's."""


def can_be_opened(trt: Any, plan: bytes) -> bool:
    """Whether this TensorRT opens an engine: not one that is damaged, or of another build of the same version."""
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    return runtime.deserialize_cuda_engine(plan) is not None


class Execution:
    """An open engine, with memory on the GPU for its inputs and outputs.

    Raises:
        Unreadable: TensorRT cannot open the engine.
        Failed: The GPU has no room for it.
    """

    def __init__(self, trt: Any, driver: Driver, plan: bytes, *, name: str) -> None:
        import numpy as np

        self._np = np
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))  # has to live as long as its engine
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise Unreadable(f"TensorRT cannot open {name}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        read = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self.inputs = tuple(self._port(trt, n) for n in read)
        self.outputs = tuple(self._port(trt, n) for n in names if n not in read)
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise Failed(f"TensorRT has no memory to run {name}")
        self._driver, self._stream = driver, Stream(driver)
        try:
            self._addresses = {port.name: self._placed(port) for port in (*self.inputs, *self.outputs)}
        except Failed:
            self.close()
            raise

    def run(self, batch: Any) -> dict[str, Any]:
        """One run, from an array of this machine to arrays of this machine: both ways over are part of it.

        Args:
            batch: Contiguous, of the input's shape and type.

        Raises:
            Failed: It cannot be run, or was closed.
        """
        if self._context is None:
            raise Failed("this session was closed")
        answers = {port.name: self._np.empty(port.shape, port.dtype) for port in self.outputs}
        self._driver.use()
        self._stream.upload(batch, self._addresses[self.inputs[0].name])
        if not self._context.execute_async_v3(self._stream.handle):
            raise Failed("TensorRT failed to run the engine")
        for name, array in answers.items():
            self._stream.download(self._addresses[name], array)
        self._stream.wait()
        return answers

    def close(self) -> None:
        """Frees the engine and its memory on the GPU."""
        self._stream.close()
        self._context = self._engine = self._runtime = None

    def _port(self, trt: Any, name: str) -> Port:
        shape = tuple(int(d) for d in self._engine.get_tensor_shape(name))
        dtype = self._np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
        if len(shape) not in (2, 4) or min(shape) < 1:
            raise Failed(f"tensor {name!r} has shape {list(shape)}; edgecvx runs files of static shapes")
        return Port(name, shape, dtype)

    def _placed(self, port: Port) -> int:
        """Memory for one tensor, which the engine is told of."""
        address = self._stream.allocate(math.prod(port.shape) * port.dtype.itemsize)
        if not self._context.set_tensor_address(port.name, address):
            raise Failed(f"TensorRT does not take memory for {port.name!r}")
        return address


def short_line(text: str) -> str:
    """What a tool said, in one line of bearable length."""
    return " ".join(text.split())[:300] or "it does not say why"


def _listening(trt: Any) -> Any:
    """A logger that keeps TensorRT's errors, so that they can be told in one line."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Listener()
