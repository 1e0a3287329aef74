"""What this machine can do: the runtimes and tools that are here, and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from edgecvx import __version__
from edgecvx.board.device.processors import Processor, this_processor
from edgecvx.runtimes import RUNTIMES, availability

TOOLS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "torch": (("torch",), "onnx", "reads checkpoints; the reference"),
    "onnx": (("onnx",), "onnx", "the canonical graph"),
    "onnx_ir": (("onnx_ir",), "onnx", "the canonical graph"),
    "huggingface_hub": (("huggingface_hub",), "onnx", "downloads published weights"),
    "ziglang": (("ziglang",), "native", "builds the native engine for every platform, browsers too"),
    "coremltools": (("coremltools",), "coreml", "writes Core ML packages"),
    "tensorflow": (("tensorflow-cpu", "tensorflow"), "tensorflow", "a second interpreter for .tflite files"),
    "transformers": (("transformers",), "transformers", "only to check the network against"),
}
"""Name -> (distributions it may come in, extra, what it is for)."""

_PAIRS = "adds pairs of uint8 x int8 products in 16 bits; edgecvx's INT8 files cannot overflow there"
_FOURS = "adds four products of bytes at once, in 32 bits"
INT8_PRODUCTS: Mapping[str, str] = {
    "AMX": "multiplies tiles of bytes, and adds in 32 bits",
    "AVX512-VNNI": _FOURS,
    "AVX-512": _PAIRS,
    "AVX-VNNI": _FOURS,
    "AVX2": _PAIRS,
    "SSE4.2": _PAIRS,
    "x86-64": "has no instruction that adds products of bytes: INT8 gains little",
    "i8mm": "multiplies matrices of bytes, and adds in 32 bits",
    "dotprod": _FOURS,
    "NEON": "has no instruction that adds products of bytes: INT8 gains less than with dotprod",
}
"""Class of processors -> what it means for INT8."""

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
    processor: Processor
    runtimes: tuple[Finding, ...]
    tools: tuple[Finding, ...]


def diagnose() -> Diagnosis:
    """Looks at this machine; changes nothing and connects to nothing."""
    processor = this_processor()
    return Diagnosis(
        machine=_machine(processor),
        processor=processor,
        runtimes=tuple(_finding(n, availability(n).version, extra, "runs artifacts") for n, extra in RUNTIMES.items()),
        tools=tuple(_finding(n, _installed(ds), extra, purpose) for n, (ds, extra, purpose) in TOOLS.items()),
    )


def _machine(processor: Processor) -> Mapping[str, str]:
    name, threads = processor.name or processor.machine, psutil.cpu_count(logical=True)
    flags = " ".join(flag for flag in _TELLING_FLAGS if flag in processor.instructions)
    return {
        "edgecvx": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {processor.machine}",
        "processor": f"{name}, {threads} threads" + (f", {flags}" if flags else ""),
        "class": _class(processor.kind),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "hub": "offline (HF_HUB_OFFLINE)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else "on demand",
    }


def _class(kind: str | None) -> str:
    if kind is None:
        return "unknown: every file is checked here once, against what it computed where it was proved"
    return f"{kind}: {INT8_PRODUCTS[kind]}"


def _finding(name: str, version: str | None, extra: str, purpose: str) -> Finding:
    hint = "" if version is not None else f"pip install 'edgecvx[{extra}]'"
    return Finding(name=name, version=version, purpose=purpose, hint=hint)


def _installed(distributions: Sequence[str]) -> str | None:
    versions = (d.version for name in distributions for d in importlib.metadata.distributions(name=name))
    return next(versions, None)
