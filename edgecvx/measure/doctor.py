"""What this machine can do: the runtimes and tools that are here, and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgecvx import __version__
from edgecvx.runtimes import RUNTIMES, availability

TOOLS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "torch": (("torch",), "onnx", "reads checkpoints; the reference"),
    "onnx": (("onnx",), "onnx", "the canonical graph"),
    "onnx_ir": (("onnx_ir",), "onnx", "the canonical graph"),
    "huggingface_hub": (("huggingface_hub",), "onnx", "downloads published weights"),
    "coremltools": (("coremltools",), "coreml", "writes Core ML packages"),
    "tensorflow": (("tensorflow-cpu", "tensorflow"), "tensorflow", "a second interpreter for .tflite files"),
    "transformers": (("transformers",), "transformers", "only to check the network against"),
}
"""Name -> (distributions it may come in, extra, what it is for)."""

_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm", "fphp", "sve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    version: str | None
    purpose: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The whole report."""

    machine: Mapping[str, str]
    runtimes: tuple[Finding, ...]
    tools: tuple[Finding, ...]


def diagnose() -> Diagnosis:
    """Looks at this machine; changes nothing and connects to nothing."""
    return Diagnosis(
        machine=_machine(),
        runtimes=tuple(_runtime(name) for name in RUNTIMES),
        tools=tuple(_tool(name) for name in TOOLS),
    )


def _machine() -> Mapping[str, str]:
    flags = " ".join(flag for flag in _TELLING_FLAGS if flag in _cpu_flags())
    return {
        "edgecvx": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{_cpu_name()}, {psutil.cpu_count(logical=True)} threads" + (f", {flags}" if flags else ""),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "hub": "offline (HF_HUB_OFFLINE)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else "on demand",
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def _cpu_name() -> str:
    for line in _cpu_lines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()


def _cpu_flags() -> frozenset[str]:
    for line in _cpu_lines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _runtime(name: str) -> Finding:
    found = availability(name)
    _, extra = RUNTIMES[name]
    hint = "" if found.version is not None else f"pip install 'edgecvx[{extra}]'"
    return Finding(name=name, version=found.version, purpose="runs artifacts", hint=hint)


def _tool(name: str) -> Finding:
    distributions, extra, purpose = TOOLS[name]
    versions = [d.version for name in distributions for d in importlib.metadata.distributions(name=name)]
    hint = "" if versions else f"pip install 'edgecvx[{extra}]'"
    return Finding(name=name, version=versions[0] if versions else None, purpose=purpose, hint=hint)
