"""From the bytes of a weights file to named tensors, without trusting them.

A checkpoint is a download from a stranger. ``.safetensors`` holds tensors and nothing else; the pickle formats are a
program, and are read only by torch's ``weights_only`` unpickler, which runs none of it. Whatever is wrong with a file
ends in one ``CheckpointError``, before more memory is taken than the file itself justifies.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgecvx.errors import CheckpointError, missing_package

MAX_BYTES = 4 << 30
"""The largest ConvNeXt V2 ever published takes 2.6 GB in FP32."""

PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)
SAVED_NAMES = ("model.safetensors", "pytorch_model.bin")
"""What transformers and timm call the weights in a folder or on the hub, the safe format first."""

_NESTS = ("state_dict_ema", "model_ema", "state_dict", "model", "module")
"""Where training scripts keep the weights, the averaged ones first: those are what their authors evaluate."""

_HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [argparse.Namespace]
"""timm's trainer and the original repository's save their command line beside the weights. The class only holds values;
without this exception neither's checkpoints could be read."""

# Everything a damaged pickle has been seen to make an unpickler raise. Errors of our own code are not among the
# suspects here: the try block below holds torch's call and nothing else.
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    EOFError,
    OverflowError,
    MemoryError,
    ImportError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """The tensors of a file, under the names it gives them."""

    name: str
    """The file's own name, without the folders of somebody's machine."""
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    sha256: str
    notes: tuple[str, ...]
    """What was unwrapped or left out on the way."""


def read_weight_file(path: Path) -> WeightFile:
    """Reads ``.safetensors``, or a pickle format through ``weights_only``.

    Raises:
        CheckpointError: There is no such file, it is damaged, or it holds something other than tensors.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise CheckpointError(f"{path.name}: a checkpoint is a file ending in {', '.join(SUFFIXES)}")
    data = _read_bytes(path)
    metadata: Mapping[str, str] = {}
    if path.suffix.lower() == ".safetensors":
        tensors, metadata = _parse_safetensors(data, path.name)
        notes: tuple[str, ...] = ()
    else:
        tensors, notes = _unwrap(_unpickle(data, path.name), path.name)
    if not tensors:
        raise CheckpointError(f"{path.name} holds no tensors")
    check_tensors(tensors, path.name)
    return WeightFile(
        name=path.name,
        tensors=tensors,
        metadata=metadata,
        sha256=hashlib.sha256(data).hexdigest(),
        notes=notes,
    )


def _read_bytes(path: Path) -> bytes:
    """The whole file at once, so that what is hashed is what is parsed."""
    try:
        if not path.is_file():
            what = "is a folder, not a checkpoint file" if path.is_dir() else "does not exist"
            raise CheckpointError(f"{path.name} {what}")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CheckpointError(f"{path.name} has {size >> 20} MiB, more than any ConvNeXt")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path.name}: {error.strerror}") from None
    if not data:
        raise CheckpointError(f"{path.name} is empty: was the download interrupted?")
    if data.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path.name} is a Git LFS pointer, not the weights: fetch it with 'git lfs pull'")
    return data


def _parse_safetensors(data: bytes, name: str) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
    try:
        import safetensors
        import safetensors.torch
    except ModuleNotFoundError:
        raise missing_package("safetensors", "onnx") from None
    try:
        # The parser checks that the header's offsets tile the file exactly, so no tensor can claim more than is there.
        tensors: Mapping[str, Tensor] = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{name} is damaged, or no safetensors file: {few([str(error)])}") from None
    except KeyError as error:
        raise CheckpointError(f"{name} holds tensors of a type this torch does not know: {error}") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return tensors, header.get("__metadata__") or {}


def _unpickle(data: bytes, name: str) -> object:
    if data.startswith(b"PK"):
        _check_zip(data, name)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_HARMLESS):
            warnings.simplefilter("ignore")  # about pickle protocols and TorchScript; the error says what matters
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))  # what the unpickler was asked to import and would not
        if found is None:
            raise CheckpointError(f"{name} is damaged, or no PyTorch checkpoint") from None
        raise CheckpointError(
            f"{name} wants to run code ({few([found[1]])}) and not only to hold tensors; nothing of it was run. Where "
            "you trust it, save its state_dict alone, best as .safetensors"
        ) from None
    except _UNPICKLING_ERRORS:
        raise CheckpointError(f"{name} is damaged, or no PyTorch checkpoint") from None


def _check_zip(data: bytes, name: str) -> None:
    """Refuses an archive that unpacks to more than it is: ``torch.save`` stores its entries as they are."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError):
        raise CheckpointError(f"{name} is damaged: its archive cannot be read; was the download interrupted?") from None
    if unpacked > len(data):
        raise CheckpointError(f"{name} claims to unpack from {len(data)} to {unpacked} bytes: no PyTorch checkpoint")


def _unwrap(loaded: object, name: str) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """The state dict inside what a training script saved, and what was passed by to reach it."""
    notes: list[str] = []
    for _ in range(4):  # Lightning around DataParallel around a trainer; nobody nests deeper
        if not isinstance(loaded, Mapping):
            raise CheckpointError(f"{name} holds a {type(loaded).__name__}, not a dictionary of weights")
        nest = next((key for key in _NESTS if isinstance(loaded.get(key), Mapping)), None)
        if nest is None:
            break
        others = [str(key) for key in loaded if key != nest]
        notes.append(f"{name}: took {nest!r}" + (f", not {few(others)}" if others else ""))
        loaded = loaded[nest]
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{name} nests its weights too deep")
    tensors = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
    if skipped := [str(key) for key, value in loaded.items() if not isinstance(value, Tensor)]:
        notes.append(f"{name}: left out what is no tensor: {few(skipped)}")
    return tensors, tuple(notes)


def check_tensors(tensors: Mapping[str, Tensor], name: str) -> None:
    """Only plain tensors in memory, whose elements the file really holds.

    A pickle can describe a view that repeats one stored number a trillion times; copying it would take that much.
    """
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise CheckpointError(f"{name}: {few([key])} is not a plain dense tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{name}: {few([key])} claims more elements than the file holds")


def few(names: Sequence[str]) -> str:
    """The first names, and how many more there are: for an error that stays one line, whatever a file calls things."""
    shown = [name if name.isprintable() and len(name) <= 100 else repr(name)[:100] for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
