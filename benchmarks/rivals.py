"""The other tools: which files they make, in which environment, from which script."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from paths import HERE, OUT, written


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One way to make a file with another tool."""

    name: str
    target: str
    environment: str
    script: str
    suffix: str
    packages: tuple[str, ...]
    """Whose versions belong into the result."""
    precision: str = "fp32"
    base: Rival | None = None
    """Whose file this tool quantizes; None for a converter, which starts from the network."""
    arguments: tuple[str, ...] = ()
    """What the script is told besides files."""
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """For the runtime."""

    def make(self, network: Path, pictures: Path) -> Path:
        """Writes the tool's file for a network, unless it is there already.

        Args:
            network: The transformers folder.
            pictures: For calibration; a converter does not look at them.
        """
        stem = ".".join([network.name, "-".join([self.script, *self.arguments])])
        stem += f".{pictures.stem}" if self.base else ""
        path = OUT / "others" / f"{stem}{self.suffix}"
        if path.exists():
            return path
        inputs = [network] if self.base is None else [self.base.make(network, pictures), pictures]
        with written(path) as unfinished:
            run_in(self.environment, f"{self.script}.py", *inputs, unfinished, *self.arguments)
        return path


TORCH_ONNX = Rival(
    name="torch.onnx.export",
    target="onnx",
    environment="plain",
    script="to_onnx_dynamo",
    suffix=".onnx",
    packages=("torch", "transformers", "onnxscript"),
)
TORCHSCRIPT_ONNX = replace(
    TORCH_ONNX,
    name="torch.onnx.export(dynamo=False)",
    script="to_onnx_torchscript",
    packages=("torch", "transformers"),
)
OPENVINO = Rival(
    name="openvino.convert_model",
    target="openvino",
    environment="plain",
    script="to_openvino",
    suffix=".xml",
    packages=("openvino", "torch", "transformers"),
)
LITERT = Rival(
    name="litert_torch.convert",
    target="tflite",
    environment="litert",
    script="to_litert",
    suffix=".tflite",
    packages=("litert-torch", "torch", "transformers"),
)
# The same file, computed in bfloat16: what OpenVINO does by itself on a processor that has it. No INT8, no calibration.
OPENVINO_BF16 = replace(
    OPENVINO,
    name="openvino.convert_model, bf16",
    precision="bf16",
    options=MappingProxyType({"precision": "bf16"}),
)


def _onnxruntime(name: str, ops: str) -> Rival:
    return Rival(
        name=f"quantize_static, {name}",
        target="onnx",
        environment="plain",
        script="quantize_onnxruntime",
        suffix=".onnx",
        packages=("onnxruntime", "torch", "onnxscript"),
        precision="int8",
        base=TORCH_ONNX,
        arguments=(ops,),
    )


def _nncf(preset: str) -> Rival:
    return Rival(
        name=f"nncf.quantize, {preset}",
        target="openvino",
        environment="plain",
        script="quantize_nncf",
        suffix=".xml",
        packages=("nncf", "openvino", "torch"),
        precision="int8",
        base=OPENVINO,
        arguments=(preset,),
    )


def _litert(recipe: str, precision: str) -> Rival:
    return Rival(
        name=f"ai-edge-quantizer, {recipe}",
        target="tflite",
        environment="litert",
        script="quantize_litert",
        suffix=".tflite",
        packages=("ai-edge-quantizer", "litert-torch", "torch"),
        precision=precision,
        base=LITERT,
        arguments=(recipe,),
    )


RIVALS = (
    TORCH_ONNX,
    TORCHSCRIPT_ONNX,
    OPENVINO,
    LITERT,
    OPENVINO_BF16,
    _onnxruntime("every op", "all"),
    _onnxruntime("products only", "products"),
    _nncf("default"),
    _nncf("mixed"),
    _litert("static_wi8_ai8", "int8"),
    _litert("dynamic_wi8_afp32", "int8-dynamic"),
)
_AGAINST = {
    "fp32": ("fp32",),
    "int8": ("int8", "int8-dynamic", "bf16"),
    "int8-dynamic": ("int8", "int8-dynamic"),
}


def rivals_of(target: str, precision: str) -> list[Rival]:
    """The files that stand against ours of a precision; against INT8 also the FP32 file each was made from."""
    quantized = [r for r in RIVALS if r.target == target and r.precision in _AGAINST[precision]]
    bases = [r for r in RIVALS if any(q.base == r for q in quantized)]
    return [*quantized, *bases]


def run_in(environment: str, script: str, *arguments: object) -> None:
    """Runs a script of ``others/`` in one of the other tools' environments."""
    python = HERE / ".venvs" / environment / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"{python} is missing: run {HERE / 'setup.sh'} first")
    command = [str(python), str(HERE / "others" / script), *map(str, arguments)]
    quiet = {"HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script} failed in environment {environment}:\n{done.stderr[-2000:]}")


def versions(rival: Rival) -> str:
    python = HERE / ".venvs" / rival.environment / "bin" / "python"
    program = "import importlib.metadata as m, sys; print(*(f'{p} {m.version(p)}' for p in sys.argv[1:]), sep=', ')"
    told = subprocess.run([python, "-c", program, *rival.packages], capture_output=True, text=True, check=True)
    return told.stdout.strip()
