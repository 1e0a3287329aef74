"""TensorRT, on NVIDIA GPUs: which engine belongs to a file, how it is built with the Python API, and how it is run.

An engine belongs to one file, one TensorRT and one kind of GPU, so all three stand in its name. It is built as a
strongly typed network, which takes the type of every tensor from the file. Tested with stand-ins for TensorRT and CUDA
that check what is asked of them; not run on hardware.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgecvx.board.engines.base import (
    THE_FILE,
    Absent,
    Refused,
    Session,
    Tensor,
    Unreadable,
    Untrusted,
    one_line,
    tensor,
)
from edgecvx.board.engines.nvidia import Device, Driver, Stream
from edgecvx.board.places import cache_folder, read_trusted

TITLE = "TensorRT"
PACKAGE = "tensorrt"
EXTRA = "tensorrt"
OPTIONS: Mapping[str, Sequence[str]] = {}
ENGINE = ".engine"
OLDEST = (10, 0)
"""The first with strongly typed networks in its Python API and in trtexec, and with INT8 weights as constants."""
ABSENT = (
    "TensorRT is not installed here: on a Jetson it comes with JetPack (sudo apt install nvidia-jetpack; a virtual "
    "environment sees it with --system-site-packages), elsewhere: pip install 'edgecvx[tensorrt]'"
)


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
        return f"{self.sha256[:32]}-{self.place}{ENGINE}"  # 128 bits: nobody makes two files that share an engine


def engines_folder() -> Path:
    """Where engines lie, if nobody says otherwise. Not beside a file: what came with one is not to be run as code."""
    return cache_folder() / "engines"


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


def version(options: Mapping[str, str] = MappingProxyType({})) -> str:
    """Its version."""
    return str(load_tensorrt().__version__)


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

    What is float32 in the file is computed in float32: TF32 is turned off.

    Args:
        trt: TensorRT's Python API.
        content: The file.
        name: What the file is called, for errors.
        workspace: MiB that TensorRT may use while it runs a layer; all there is by default.
        timings: What an earlier build gave back as its timings.

    Returns:
        The engine, and the timings for the next build.

    Raises:
        Refused: TensorRT refuses the file.
    """
    logger = _listening(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise Refused(f"TensorRT cannot read {name}: {one_line(errors)}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default: products of float32 with ten bits of mantissa, untold
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace << 20)
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, False):  # of another TensorRT, or damaged
        config.set_timing_cache(config.create_timing_cache(b""), False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Refused(f"TensorRT cannot build {name}: {one_line('; '.join(logger.errors))}")
    return bytes(plan), bytes(config.get_timing_cache().serialize())


class Runtime:
    """TensorRT and the GPU's driver, loaded."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.trt, self._driver = load_tensorrt(), Driver()
        self._device = self._driver.device
        self.version = str(self.trt.__version__)

    def key(self, sha256: str) -> EngineKey:
        """What the engine of a file depends on here."""
        return EngineKey(sha256=sha256, version=short(self.version), device=self._device)

    def compile(self, path: Path) -> None:
        """Puts the engine beside the file, in the folder of this measurement: the user's own, or one built for it."""
        target = path.with_suffix(ENGINE)
        if target.is_file() and read_trusted(target) is not None:
            return
        content = path.read_bytes()
        plan = self._kept(hashlib.sha256(content).hexdigest())
        if plan is None:
            plan, _ = build(self.trt, content, name=THE_FILE)
        whole = target.with_suffix(".part")
        whole.write_bytes(plan)
        whole.replace(target)

    def open(self, path: Path, threads: int | None, name: str = f"the engine of {THE_FILE}") -> TensorRTSession:
        """Opens an engine, or the one that lies beside its file; ``threads`` means nothing on a GPU."""
        try:
            plan = read_trusted(path.with_suffix(ENGINE))
        except FileNotFoundError as error:
            raise Refused("the file was not compiled before it was opened") from error
        if plan is None:
            raise Untrusted(f"{name} could have been written by another user, and an engine is code")
        return TensorRTSession(self.trt, self._driver, plan, name)

    def _kept(self, sha256: str) -> bytes | None:
        """What ``edgecvx build-engine`` left here, if nobody else could have written it and this TensorRT opens it.

        It does not open one that is damaged, or of another build of the same version.
        """
        try:
            plan = read_trusted(engines_folder() / self.key(sha256).name)
        except (OSError, RuntimeError):  # not there; or nobody's home
            return None
        return plan if plan is not None and _deserialized(self.trt, plan)[1] is not None else None


class TensorRTSession(Session):
    """An open engine, with memory on the GPU for its inputs and outputs.

    Raises:
        Unreadable: TensorRT cannot open the engine.
        Refused: The GPU has no room for it.
    """

    def __init__(self, trt: Any, driver: Driver, plan: bytes, name: str) -> None:
        import numpy as np

        self._np, self._plan, self._driver, self._nptype = np, plan, driver, trt.nptype
        self._runtime, self._engine = _deserialized(trt, plan)
        if self._engine is None:
            raise Unreadable(f"TensorRT cannot open {name}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        read = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        super().__init__(read, [n for n in names if n not in read])
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise Refused(f"TensorRT has no memory to run {name}")
        self._stream = Stream(driver)
        try:
            (self._input,) = map(self._placed, self.inputs)
            self._answers = [(port.shape, np.dtype(port.dtype), self._placed(port)) for port in self.outputs]
        except Refused:
            self.close()
            raise

    @functools.cached_property
    def backend(self) -> str | None:
        """With the engine's own hash: TensorRT chooses kernels by their times, and may choose others the next time."""
        device, engine = self._driver.device, hashlib.sha256(self._plan).hexdigest()[:8]
        return f"{device.name}, compute capability {device.capability}, engine {engine}"

    def run(self, batch: Any) -> Sequence[Any]:
        """One run, from a contiguous array of this machine to arrays of this machine: both ways over are part of it."""
        answers = [self._np.empty(shape, dtype) for shape, dtype, _ in self._answers]
        self._driver.use()
        self._stream.upload(batch, self._input)
        if not self._context.execute_async_v3(self._stream.handle):
            raise Refused("TensorRT failed to run the engine")
        for (_, _, address), array in zip(self._answers, answers):
            self._stream.download(address, array)
        self._stream.wait()
        return answers

    def close(self) -> None:
        """Frees the engine and its memory on the GPU."""
        self._stream.close()
        super().close()

    def _describe(self, value: Any) -> Tensor:
        dtype = self._np.dtype(self._nptype(self._engine.get_tensor_dtype(value))).name
        return tensor(value, [int(size) for size in self._engine.get_tensor_shape(value)], dtype)

    def _placed(self, port: Tensor) -> int:
        """Memory for one tensor, whose address the engine gets."""
        address = self._stream.allocate(math.prod(port.shape) * self._np.dtype(port.dtype).itemsize)
        if not self._context.set_tensor_address(port.name, address):
            raise Refused(f"TensorRT does not take memory for {port.name!r}")
        return address


def _deserialized(trt: Any, plan: bytes) -> tuple[Any, Any]:
    """TensorRT's runtime, which has to live as long as its engine, and the engine; None where it cannot be opened."""
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    return runtime, runtime.deserialize_cuda_engine(plan)


def _listening(trt: Any) -> Any:
    """A logger that keeps TensorRT's errors, for a refusal in one line."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Listener()
