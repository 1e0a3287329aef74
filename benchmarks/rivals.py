"""The other tools: which files they make, in which environment, from which script."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


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

    def make(self, network: Path, folder: Path) -> Path:
        """Writes the tool's file for a network, unless it is there already."""
        path = folder / f"{network.name}.{self.script}{self.suffix}"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            run_in(self.environment, f"{self.script}.py", network, path)
        return path


RIVALS = (
    Rival(
        name="torch.onnx.export",
        target="onnx",
        environment="plain",
        script="to_onnx_dynamo",
        suffix=".onnx",
        packages=("torch", "transformers", "onnxscript"),
    ),
    Rival(
        name="torch.onnx.export(dynamo=False)",
        target="onnx",
        environment="plain",
        script="to_onnx_torchscript",
        suffix=".onnx",
        packages=("torch", "transformers"),
    ),
    Rival(
        name="openvino.convert_model",
        target="openvino",
        environment="plain",
        script="to_openvino",
        suffix=".xml",
        packages=("openvino", "torch", "transformers"),
    ),
    Rival(
        name="litert_torch.convert",
        target="tflite",
        environment="litert",
        script="to_litert",
        suffix=".tflite",
        packages=("litert-torch", "torch", "transformers"),
    ),
)


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
