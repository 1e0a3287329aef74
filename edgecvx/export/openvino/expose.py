"""OpenVINO: a layer's output port carries tensor names; an output is a ``Result`` layer behind a port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from edgecvx.errors import ArtifactError


def inner_tensors(path: Path) -> Mapping[str, str]:
    """Canonical name -> the file's own name; a lowering keeps them the same."""
    return {name: name for name in _ports(_read(path), path)}


def expose(path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """The ``.xml`` with a ``Result`` behind each of these tensors, and the weights as they are."""
    net = _read(path)
    layers, edges, ports = _child(net, "layers", path), _child(net, "edges", path), _ports(net, path)
    number = 1 + max(int(layer.attrib["id"]) for layer in layers)
    results = {
        (edge.attrib["from-layer"], edge.attrib["from-port"])
        for edge in edges
        if edge.attrib["to-layer"] in {layer.attrib["id"] for layer in layers if layer.attrib["type"] == "Result"}
    }
    for name in names:
        if name not in ports:
            raise ArtifactError(f"{path.name} has no tensor {name!r}")
        layer, port = ports[name]
        if (layer.attrib["id"], port.attrib["id"]) in results:
            continue
        result = ElementTree.SubElement(
            layers, "layer", id=str(number), name=f"{name}/debug", type="Result", version="opset1"
        )
        inlet = ElementTree.SubElement(ElementTree.SubElement(result, "input"), "port", id="0")
        inlet.attrib["precision"] = port.attrib["precision"]
        inlet.extend(ElementTree.fromstring(ElementTree.tostring(dim)) for dim in port.iter("dim"))
        edge = {"from-layer": layer.attrib["id"], "from-port": port.attrib["id"], "to-layer": str(number)}
        ElementTree.SubElement(edges, "edge", {**edge, "to-port": "0"})
        number += 1
    return {".xml": ElementTree.tostring(net, encoding="utf-8"), ".bin": path.with_suffix(".bin").read_bytes()}


def _ports(net: ElementTree.Element, path: Path) -> dict[str, tuple[ElementTree.Element, ElementTree.Element]]:
    """Tensor name -> the layer and the output port that carries it."""
    found = {}
    for layer in _child(net, "layers", path):
        for port in layer.iterfind("output/port"):
            for name in port.attrib.get("names", "").split(","):
                if name:
                    found[name] = (layer, port)
    return found


def _child(net: ElementTree.Element, tag: str, path: Path) -> ElementTree.Element:
    child = net.find(tag)
    if child is None:
        raise ArtifactError(f"{path.name} is no OpenVINO model: it has no <{tag}>")
    return child


def _read(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise ArtifactError(f"{path.name} cannot be read as an OpenVINO model ({error})") from error
