"""What is in an OpenVINO IR: its operations, read without OpenVINO."""

from __future__ import annotations

import contextlib
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgecvx.errors import ArtifactError
from edgecvx.export.base import OpInfo
from edgecvx.graph.pairs import PairOrder, Product

_TYPES = {"FP32": "float32", "FP16": "float16", "U8": "uint8", "I8": "int8", "I64": "int64"}
_INT8 = ("I8", "U8")


Layers = Mapping[str, ElementTree.Element]
"""By their id."""
Sources = Mapping[str, Sequence[str]]
"""The layers that each layer reads, in the order of its inputs."""


def read_ops(path: Path) -> tuple[OpInfo, ...]:
    """The operations of an IR, in the order of the file; constants and their decompression count with their reader.

    Raises:
        ArtifactError: The file is not an IR.
    """
    with _named(path):
        return tuple(_op_infos(*_network(path)))


def read_products(path: Path) -> tuple[Product, ...]:
    """The layers of an IR whose int8 weights the CPU plugin's kernels read in pairs.

    Raises:
        ArtifactError: The file is not an IR, or its weights are not where it says.
    """
    with _named(path):
        layers, sources = _network(path)
        return tuple(_products(layers, sources, path.with_suffix(".bin").read_bytes()))


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Says of which file it is that something is wrong with it."""
    try:
        yield
    except (ElementTree.ParseError, KeyError, ValueError, AttributeError, IndexError, OSError) as error:
        raise ArtifactError(f"{path.name} is not an OpenVINO IR that can be read: {error!r}") from error


def _network(path: Path) -> tuple[Layers, Sources]:
    net = ElementTree.parse(path).getroot()
    layers = {layer.attrib["id"]: layer for layer in net.iterfind("layers/layer")}
    sources: dict[str, list[str]] = {key: [] for key in layers}
    for edge in sorted(net.iterfind("edges/edge"), key=lambda e: int(e.attrib["to-port"])):
        sources[edge.attrib["to-layer"]].append(edge.attrib["from-layer"])
    return layers, sources


def _products(layers: Layers, sources: Sources, weights: bytes) -> Iterator[Product]:
    for key, layer in layers.items():
        if not _depth(layer):
            continue
        constant = layers[sources[key][1]]
        while constant.attrib["type"] in ("Convert", "Multiply"):  # the way back from float
            constant = layers[sources[constant.attrib["id"]][0]]
        data = constant.find("data")
        if constant.attrib["type"] != "Const" or data is None or data.attrib["element_type"] != "i8":
            continue
        begin, size = int(data.attrib["offset"]), int(data.attrib["size"])
        shape = tuple(int(d) for d in data.attrib["shape"].split(",") if d.strip())
        if layer.attrib["type"] == "GroupConvolution":  # [groups, out, in, height, width]
            shape = (shape[0] * shape[1], *shape[2:])
            if shape[1] == 1:  # depthwise makes no pairs
                continue
        values = np.frombuffer(weights[begin : begin + size], np.int8).reshape(shape)
        yield Product(name=layer.attrib["name"], values=values, order=PairOrder.CHANNELS)


def _op_infos(layers: Layers, sources: Sources) -> Iterator[OpInfo]:
    """All layers that compute something when the model runs."""
    constants: dict[str, str] = {}  # the element type in which each constant is stored, also behind its decompression
    sizes: dict[str, int] = {}  # of constants nobody has counted yet
    for key, layer in layers.items():
        kind, below = layer.attrib["type"], sources[key]
        if kind == "Const":
            constants[key] = layer.find("output/port").attrib["precision"]  # type: ignore[union-attr]
            sizes[key] = int(layer.find("data").attrib["size"])  # type: ignore[union-attr]
        elif below and all(source in constants for source in below):  # what is known when the model is loaded
            constants[key] = constants[below[0]]
            sizes[key] = sum(sizes.pop(source, 0) for source in below)
        elif kind not in ("Parameter", "Result"):
            port = layer.find("output/port")
            shape = _dims(port)
            depth = _depth(layer)
            yield OpInfo(
                op=kind,
                name=layer.attrib["name"],
                dtype=_TYPES.get(port.attrib["precision"], port.attrib["precision"].lower()),  # type: ignore[union-attr]
                shape=shape,
                const_bytes=sum(sizes.pop(source, 0) for source in below),
                macs=math.prod(shape) * depth,
                bits=8 if depth > 0 and constants.get(below[1]) in _INT8 and _on_a_grid(layers[below[0]]) else None,
            )


def _on_a_grid(layer: ElementTree.Element) -> bool:
    """Whether a layer returns nothing but the numbers that 8 bits can tell apart.

    OpenVINO computes in int8 what has both: weights stored in int8, and such an input. Weights alone would only make
    the file smaller.
    """
    data = layer.find("data")
    return layer.attrib["type"] == "FakeQuantize" and data is not None and int(data.attrib["levels"]) <= 256


def _depth(layer: ElementTree.Element) -> int:
    """Multiply-accumulates for one element of the output."""
    ports: Sequence[tuple[int, ...]] = [_dims(port) for port in layer.iterfind("input/port")]
    kind = layer.attrib["type"]
    if kind == "MatMul":
        return ports[0][-1]
    # Weights are [out, in, kh, kw], with the groups in front of it where there are any.
    return math.prod(ports[1][{"Convolution": 1, "GroupConvolution": 2}[kind] :]) if "Convolution" in kind else 0


def _dims(port: ElementTree.Element | None) -> tuple[int, ...]:
    return () if port is None else tuple(int(str(dim.text)) for dim in port.iterfind("dim"))
