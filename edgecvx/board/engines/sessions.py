"""Opens a file in its runtime, and reads from the runtime what it made of it.

A session has one job, ``run(batch)``: the runtime's own call and nothing beside it, for that is what is timed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgecvx.board.engines import nvidia, settings
from edgecvx.board.engines import tensorrt as engines

if TYPE_CHECKING:
    from edgecvx.board.runner.order import Artifact


class Refused(Exception):  # noqa: N818  # it reads: the runtime refused the file
    """A file cannot be opened or run here; the message is a sentence."""


class Missing(Exception):  # noqa: N818
    """A package is not installed on this device."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} is not installed on this device")
        self.package = package


class Session(Protocol):
    """An open file, and what the runtime says of it."""

    outputs: tuple[str, ...]
    arithmetic: str | None
    threads: int | None

    @property
    def backend(self) -> str | None:
        """Who really computes; asked for after the times were taken, since finding out may take a while."""
        ...

    def run(self, batch: Any) -> Sequence[Any]:
        """One run; the arrays in the order of ``outputs``."""
        ...


class Runtime(Protocol):
    """A loaded runtime, before any file."""

    version: str

    def compile(self, path: Path) -> None:
        """What has to be made of a file on this device, once, before it can be opened; asked for those of COMPILED."""
        ...

    def open(self, path: Path, artifact: Artifact) -> Session:
        """Opens a file; what is in here is timed as loading."""
        ...


PACKAGES = {
    "tflite": "ai-edge-litert",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "coreml": "coremltools",
}
"""Runtime -> what is installed with pip where it is missing."""
COMPILED = ("tensorrt",)
"""Runtimes that compile a file on the device; a process of its own does, for it takes memory and minutes."""
COMPILING = 1500.0
"""Seconds that this may take."""


def load(runtime: str, options: Mapping[str, str]) -> Runtime:
    """Imports a runtime.

    Raises:
        Missing: It is not installed.
        Refused: It does not run on this system, or an option is unknown.
    """
    if runtime not in _LOADERS:
        raise Refused(f"this runner knows no runtime {runtime!r}, only {', '.join(_LOADERS)}")
    for name in options:
        if name not in settings.OPTIONS[runtime]:
            raise Refused(f"{runtime} has no option {name!r}, only {', '.join(settings.OPTIONS[runtime])}")
    return _LOADERS[runtime](options)


class _Plain:
    """A runtime that opens files as they are."""

    def compile(self, path: Path) -> None:
        """Nothing has to be made of them."""


class _TFLite(_Plain):
    def __init__(self, options: Mapping[str, str]) -> None:
        wanted = options.get("interpreter")
        name = _first_installed(settings.TFLITE_INTERPRETERS if wanted is None else (wanted,))
        if name is None:
            raise Missing(PACKAGES["tflite"] if wanted is None else wanted.replace("_", "-"))
        module, distributions = settings.TFLITE_INTERPRETERS[name]
        self._module = importlib.import_module(module)
        self._plain = options.get("delegate", "xnnpack") == "none"
        self.version = _version(distributions) or name

    def open(self, path: Path, artifact: Artifact) -> Session:
        try:
            interpreter = settings.tflite_interpreter(
                self._module, str(path), threads=artifact.threads, plain=self._plain
            )
        except (ValueError, RuntimeError, TypeError, MemoryError) as error:
            raise Refused(f"TFLite cannot open the file: {one_line(error)}") from error
        return _TFLiteSession(interpreter, artifact.threads)


class _TFLiteSession:
    arithmetic: str | None = None

    def __init__(self, interpreter: Any, threads: int | None) -> None:
        self._interpreter, self.threads = interpreter, threads
        details = interpreter.get_output_details()
        self.outputs = tuple(str(d["name"]) for d in details)
        self._input = interpreter.get_input_details()[0]["index"]
        self._outputs = [d["index"] for d in details]

    @property
    def backend(self) -> str | None:
        return delegated(self._interpreter)

    def run(self, batch: Any) -> Sequence[Any]:
        interpreter = self._interpreter
        interpreter.set_tensor(self._input, batch)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._outputs]


def delegated(interpreter: Any) -> str | None:
    """How many of the file's operations XNNPACK took, out of the interpreter itself.

    A delegate adds nodes of its own behind the file's, and names the tensors at their edges. What it took is every
    operation on the way from its outputs back to its inputs.
    """
    list_operations = getattr(interpreter, "_get_ops_details", None)
    if list_operations is None:
        return None
    operations = list_operations()
    own = [op for op in operations if op["op_name"] != "DELEGATE"]
    maker = {int(tensor): i for i, op in enumerate(own) for tensor in op["outputs"]}
    taken: set[int] = set()
    for node in operations:
        if node["op_name"] != "DELEGATE":
            continue
        edge = {int(tensor) for tensor in node["inputs"]}
        waiting = [int(tensor) for tensor in node["outputs"]]
        while waiting:
            operation = maker.get(waiting.pop())
            if operation is None or operation in taken:
                continue
            taken.add(operation)
            waiting += [t for t in map(int, own[operation]["inputs"]) if t not in edge]
    return f"XNNPACK, {len(taken)} of {len(own)} nodes" if taken else f"plain kernels, {len(own)} nodes"


class _Onnx(_Plain):
    def __init__(self, options: Mapping[str, str]) -> None:
        if _first_installed(("onnxruntime",)) is None:
            raise Missing(PACKAGES["onnxruntime"])
        self._rt: Any = settings.import_onnxruntime()
        self.version = str(self._rt.__version__)
        self._provider = options.get("provider", settings.ONNX_CPU)
        self._fallback = options.get("fallback", "refuse")

    def open(self, path: Path, artifact: Artifact) -> Session:
        rt = self._rt
        if self._provider not in rt.get_available_providers():
            known = ", ".join(rt.get_available_providers())
            raise Refused(f"this ONNX Runtime has no provider {self._provider!r}, only {known}")
        wanted = settings.onnx_session_options(rt, threads=artifact.threads)
        settings.onnx_hold_to(wanted, self._provider, self._fallback)
        try:
            session = rt.InferenceSession(str(path), wanted, providers=[self._provider])
        except Exception as error:  # its exceptions have no common base
            raise Refused(f"ONNX Runtime refuses the file: {one_line(error)}") from error
        if self._provider not in session.get_providers():
            raise Refused(f"{self._provider} could not be started; see its requirements")
        shows = self._fallback == "show" and self._provider != settings.ONNX_CPU
        return _OnnxSession(session, artifact.threads, self._provider, settings.onnx_placed(session) if shows else {})


class _OnnxSession:
    arithmetic: str | None = None

    def __init__(
        self, session: Any, threads: int | None, provider: str, placed: Mapping[str, Sequence[str]] | None
    ) -> None:
        if placed is None:
            raise Refused("this ONNX Runtime cannot say where an operation runs: update it, or leave out fallback=show")
        self._session, self.threads = session, threads
        self.outputs = tuple(output.name for output in session.get_outputs())
        self._names = list(self.outputs)
        self._input = session.get_inputs()[0].name
        total = sum(map(len, placed.values()))
        # Without ``fallback=show`` it takes the whole file, or has refused it.
        self.backend: str | None = provider + (f", {len(placed.get(provider, ()))} of {total} nodes" if total else "")

    def run(self, batch: Any) -> Sequence[Any]:
        results: Sequence[Any] = self._session.run(self._names, {self._input: batch})
        return results


class _OpenVINO(_Plain):
    def __init__(self, options: Mapping[str, str]) -> None:
        if _first_installed(("openvino",)) is None:
            raise Missing(PACKAGES["openvino"])
        self._ov: Any = settings.import_openvino()
        self.version = str(self._ov.__version__).split("-")[0]
        self._device, self._precision = options.get("device", "CPU"), options.get("precision", "f32")
        self._core = self._ov.Core()

    def open(self, path: Path, artifact: Artifact) -> Session:
        properties = settings.openvino_properties(threads=artifact.threads, precision=self._precision)
        try:
            compiled = self._core.compile_model(self._core.read_model(path), self._device, properties)
            session = _OpenVINOSession(compiled)
        except RuntimeError as error:
            raise Refused(f"OpenVINO refuses the file: {one_line(error)}") from error
        if session.arithmetic != self._precision:
            raise Refused(f"device {self._device} computes in {session.arithmetic}, not in {self._precision} as asked")
        return session


class _OpenVINOSession:
    def __init__(self, compiled: Any) -> None:
        self._compiled, self._request = compiled, compiled.create_infer_request()
        self.outputs = tuple(port.any_name for port in compiled.outputs)
        self.backend: str | None = ", ".join(compiled.get_property("EXECUTION_DEVICES"))
        self.arithmetic: str | None = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        self.threads: int | None = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        # Its own memory, written before each run as an application does: an array that is handed over instead has to
        # be bound anew each time, which takes longer than the copy (2 to 3% of 8 ms).
        self._input = self._request.get_input_tensor().data

    def run(self, batch: Any) -> Sequence[Any]:
        self._input[...] = batch
        self._request.infer()
        return [self._request.get_output_tensor(i).data.copy() for i in range(len(self.outputs))]


class _CoreML(_Plain):
    def __init__(self, options: Mapping[str, str]) -> None:
        if platform.system() != "Darwin":
            raise Refused("Core ML runs on a Mac only")
        if _first_installed(("coremltools",)) is None:
            raise Missing(PACKAGES["coreml"])
        self._ct: Any = importlib.import_module("coremltools")
        self.version = str(self._ct.__version__)
        self._units = options.get("compute_units", "all")

    def open(self, path: Path, artifact: Artifact) -> Session:
        units = self._ct.ComputeUnit[settings.COREML_UNITS[self._units]]
        try:
            return _CoreMLSession(self._ct.models.MLModel(str(path), compute_units=units), self._units)
        except (RuntimeError, ValueError, OSError) as error:
            raise Refused(f"Core ML refuses the file: {one_line(error)}") from error


class _CoreMLSession:
    arithmetic: str | None = None
    threads: int | None = None

    def __init__(self, model: Any, units: str) -> None:
        description = model.get_spec().description
        self._model, self._input = model, description.input[0].name
        self._is_image = description.input[0].type.WhichOneof("Type") == "imageType"
        self.outputs = tuple(o.name for o in description.output if o.type.WhichOneof("Type") == "multiArrayType")
        self.backend: str | None = f"compute units {units}"

    def run(self, batch: Any) -> Sequence[Any]:
        if self._is_image:
            from PIL import Image

            batch = Image.fromarray(batch[0])
        answers = self._model.predict({self._input: batch})
        return [answers[name] for name in self.outputs]


class _TensorRT:
    def __init__(self, options: Mapping[str, str]) -> None:
        try:
            self._trt, self._driver = engines.load_tensorrt(), nvidia.Driver()
            self._device = self._driver.device
        except (nvidia.Absent, nvidia.Failed) as error:
            raise Refused(one_line(error)) from error
        self.version = str(self._trt.__version__)

    def compile(self, path: Path) -> None:
        """Puts the engine beside the file, in the folder of this measurement: the user's own, or one built for it."""
        target = path.with_suffix(_ENGINE)
        if target.is_file() and engines.read_trusted(target) is not None:
            return
        content = path.read_bytes()
        plan = self._kept(hashlib.sha256(content).hexdigest())
        if plan is None or not engines.can_be_opened(self._trt, plan):
            try:
                plan, _ = engines.build(self._trt, content, name="the file")
            except nvidia.Failed as error:
                raise Refused(one_line(error)) from error
        whole = target.with_suffix(".part")
        whole.write_bytes(plan)
        whole.replace(target)

    def open(self, path: Path, artifact: Artifact) -> Session:
        try:
            plan = engines.read_trusted(path.with_suffix(_ENGINE))
            if plan is None:
                raise Refused("another user could have written the engine, which is code")
            execution = engines.Execution(self._trt, self._driver, plan, name="the engine of the file")
        except FileNotFoundError as error:
            raise Refused("the file was not compiled before it was opened") from error
        except nvidia.Failed as error:
            raise Refused(one_line(error)) from error
        return _TensorRTSession(execution, self._device, plan)

    def _kept(self, sha256: str) -> bytes | None:
        """What ``edgecvx build-engine`` left here, if nobody else could have written it."""
        key = engines.EngineKey(sha256, engines.short(self.version), self._device)
        try:
            return engines.read_trusted(engines.engines_folder() / key.name)
        except (OSError, RuntimeError):  # not there; or nobody's home
            return None


class _TensorRTSession:
    arithmetic: str | None = None
    threads: int | None = None

    def __init__(self, execution: engines.Execution, device: nvidia.Device, plan: bytes) -> None:
        self._execution, self._device, self._plan = execution, device, plan
        self.outputs = tuple(port.name for port in execution.outputs)

    @property
    def backend(self) -> str | None:
        """With the engine's own hash: TensorRT chooses kernels by their times, and may choose others the next time."""
        engine = hashlib.sha256(self._plan).hexdigest()[:8]
        return f"{self._device.name}, compute capability {self._device.capability}, engine {engine}"

    def run(self, batch: Any) -> Sequence[Any]:
        answers = self._execution.run(batch)
        return [answers[name] for name in self.outputs]


_ENGINE = ".engine"

_LOADERS: Mapping[str, Callable[[Mapping[str, str]], Runtime]] = {
    "tflite": _TFLite,
    "onnxruntime": _Onnx,
    "openvino": _OpenVINO,
    "coreml": _CoreML,
    "tensorrt": _TensorRT,
}


def one_line(error: BaseException) -> str:
    """A runtime's own words in one line, of bearable length."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _first_installed(packages: Sequence[str] | Mapping[str, object]) -> str | None:
    return next((name for name in packages if importlib.util.find_spec(name) is not None), None)


def _version(distributions: Sequence[str]) -> str | None:
    for distribution in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"{distribution} {importlib.metadata.version(distribution)}"
    return None
