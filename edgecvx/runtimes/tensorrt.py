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

from edgecvx.board.engines.nvidia import Driver
from edgecvx.board.engines.tensorrt import EngineKey, Execution, Port, engines_folder, load_tensorrt, short
from edgecvx.errors import RuntimeFailedError, UsageError, one_of
from edgecvx.files import file_sha256
from edgecvx.runtimes.base import Array, check_batch, dtype_of
from edgecvx.runtimes.tensorrt_engine import PythonBuilder, build_file, read_engine, told
from edgecvx.spec import Layout, TensorSpec

OPTIONS = ("engines", "build")


def version() -> str:
    """TensorRT's version.

    Raises:
        RuntimeUnavailableError: It is not installed, or older than 10.
    """
    with told():
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
    with told():
        trt, driver = load_tensorrt(), Driver()
        device = driver.device
    if not path.is_file():
        raise RuntimeFailedError(f"there is no file {path.name}")
    folder = Path(options["engines"]) if "engines" in options else engines_folder()
    key = EngineKey(sha256=file_sha256(path), version=short(trt.__version__), device=device)
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
    """An open engine."""

    def __init__(self, trt: Any, driver: Driver, path: Path) -> None:
        plan = read_engine(path)
        with told():
            self._execution = Execution(trt, driver, plan, name=f"the engine {path.name}")
        try:
            self.inputs = tuple(map(_spec, self._execution.inputs))
            self.outputs = tuple(map(_spec, self._execution.outputs))
        except RuntimeFailedError:
            self.close()
            raise

    def run(self, batch: Array) -> dict[str, Array]:
        """Runs one batch; the outputs by name."""
        with told():
            return self._execution.run(check_batch(batch, self.inputs[0]))

    def close(self) -> None:
        """Frees the engine and its memory on the GPU."""
        with told():
            self._execution.close()


def _spec(port: Port) -> TensorSpec:
    layout: Layout = "NCHW" if len(port.shape) == 4 else "NC"
    return TensorSpec(name=port.name, shape=port.shape, dtype=dtype_of(port.dtype.name), layout=layout)
