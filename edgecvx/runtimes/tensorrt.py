"""TensorRT, on NVIDIA GPUs.

A file for TensorRT is compiled on the device it runs on (``edgecvx build-engine``); a session opens the engine that
belongs to the file, this TensorRT and this GPU.

Options: ``engines``: the folder of the engines, if not the user's cache; ``build`` (``yes`` or ``no``, the default):
whether an engine that is not there is built now, which takes minutes.

Tested with stand-ins for TensorRT and CUDA that check what is asked of them; not run on hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgecvx.errors import RuntimeFailedError, UsageError, one_of
from edgecvx.manifest import file_sha256
from edgecvx.runtimes import cuda
from edgecvx.runtimes.base import Array, check_batch, dtype_of
from edgecvx.runtimes.tensorrt_engine import (
    EngineKey,
    PythonBuilder,
    build_file,
    damaged,
    engines_folder,
    load_tensorrt,
    read_engine,
    short,
)
from edgecvx.spec import Layout, TensorSpec

OPTIONS = ("engines", "build")


def version() -> str:
    """TensorRT's version.

    Raises:
        RuntimeUnavailableError: It is not installed, or older than 10.
    """
    return str(load_tensorrt().__version__)


def open_session(
    path: Path, *, threads: int | None = None, options: Mapping[str, str] = MappingProxyType({})
) -> TensorRTSession:
    """Opens the engine of an ONNX file; ``threads`` means nothing on a GPU.

    Raises:
        RuntimeUnavailableError: TensorRT is not installed, or there is no NVIDIA driver.
        RuntimeFailedError: There is no engine for this GPU and TensorRT yet, or it cannot be run.
        UsageError: An option is unknown.
    """
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise one_of("option of tensorrt", unknown[0], OPTIONS)
    build = options.get("build", "no")
    if build not in ("yes", "no"):
        raise UsageError(f"build={build} does not work: say yes or no")
    trt, driver = load_tensorrt(), cuda.Driver()
    if not path.is_file():
        raise RuntimeFailedError(f"there is no file {path.name}")
    folder = Path(options["engines"]) if "engines" in options else engines_folder()
    key = EngineKey(sha256=file_sha256(path), version=short(trt.__version__), device=driver.device)
    engine = folder / key.name
    if not engine.is_file():
        if build == "no":
            raise RuntimeFailedError(
                f"{path.name} has no engine yet for {key.device.name} and TensorRT {key.version}: "
                f"run edgecvx build-engine {path.name} once"
            )
        engine = build_file(path, folder=folder, builder=PythonBuilder(trt)).path
    return TensorRTSession(trt, driver, engine)


class TensorRTSession:
    """An open engine, with memory on the GPU for its inputs and outputs."""

    def __init__(self, trt: Any, driver: cuda.Driver, path: Path) -> None:
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))  # has to live as long as its engine
        self._engine: Any = self._runtime.deserialize_cuda_engine(read_engine(path))
        if self._engine is None:
            raise damaged(path)
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        read = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self.inputs = tuple(_spec(trt, self._engine, name) for name in read)
        self.outputs = tuple(_spec(trt, self._engine, name) for name in names if name not in read)
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise RuntimeFailedError(f"TensorRT has no memory to run {path.name}")
        self._driver, self._stream = driver, cuda.Stream(driver)
        try:
            self._addresses = {spec.name: self._placed(spec) for spec in (*self.inputs, *self.outputs)}
        except RuntimeFailedError:
            self.close()
            raise

    def run(self, batch: Array) -> dict[str, Array]:
        """Runs one batch; the outputs by name."""
        if self._context is None:
            raise RuntimeFailedError("this session was closed")
        image = check_batch(batch, self.inputs[0])
        answers = {spec.name: np.empty(spec.shape, spec.dtype) for spec in self.outputs}
        self._driver.use()
        self._stream.upload(image, self._addresses[self.inputs[0].name])
        if not self._context.execute_async_v3(self._stream.handle):
            raise RuntimeFailedError("TensorRT failed to run the engine")
        for name, array in answers.items():
            self._stream.download(self._addresses[name], array)
        self._stream.wait()
        return answers

    def close(self) -> None:
        """Frees the engine and its memory on the GPU."""
        self._stream.close()
        self._context = self._engine = self._runtime = None

    def _placed(self, spec: TensorSpec) -> int:
        """Memory for one tensor, which the engine is told of."""
        address = self._stream.allocate(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize)
        if not self._context.set_tensor_address(spec.name, address):
            raise RuntimeFailedError(f"TensorRT does not take memory for {spec.name!r}")
        return address


def _spec(trt: Any, engine: Any, name: str) -> TensorSpec:
    shape = tuple(int(d) for d in engine.get_tensor_shape(name))
    if len(shape) not in (2, 4) or min(shape) < 1:
        raise RuntimeFailedError(f"tensor {name!r} has shape {list(shape)}; edgecvx runs files of static shapes")
    layout: Layout = "NCHW" if len(shape) == 4 else "NC"
    dtype = dtype_of(np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name)
    return TensorSpec(name=name, shape=shape, dtype=dtype, layout=layout)
