"""The JSON schema of a value made of the package's dataclasses, with their own documentation in it.

The files that ship (``edgecvx/assets/*.schema.json``) are written by this program and compared with it by a test, so
they can be read and linked to, and cannot fall behind: ``python tools/schema.py`` writes them anew.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import itertools
import json
import textwrap
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from edgecvx.errors import EdgecvxError
from edgecvx.results import latency
from edgecvx.results.accuracy import SCHEMA_VERSION, Validation
from edgecvx.results.latency import Benchmark
from edgecvx.sweep import result
from edgecvx.sweep.result import SweepResult
from edgecvx.tune.report import values
from edgecvx.tune.report.values import Tuned

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


def json_schema(cls: type, title: str) -> dict[str, Any]:
    """The schema of what ``spec.to_json`` makes of a value of this class; unknown keys are refused."""
    definitions: dict[str, Any] = {}
    root = _schema(cls, definitions)
    return {"$schema": DIALECT, "title": title, **root, "$defs": dict(sorted(definitions.items()))}


def validation_schema() -> str:
    """The schema of a validation report, as it ships."""
    found = json_schema(Validation, "edgecvx validation report")
    version = found["$defs"]["Validation"]["properties"]["schema_version"]
    version["const"] = SCHEMA_VERSION
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def benchmark_schema() -> str:
    """The schema of a benchmark, as it ships."""
    found = json_schema(Benchmark, "edgecvx benchmark")
    found["$defs"]["Benchmark"]["properties"]["schema_version"]["const"] = latency.SCHEMA_VERSION
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def sweep_schema() -> str:
    """The schema of a sweep's result, as it ships."""
    found = json_schema(SweepResult, "edgecvx sweep")
    found["$defs"]["SweepResult"]["properties"]["schema_version"]["const"] = result.SCHEMA_VERSION
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def tune_schema() -> str:
    """The schema of a search's result, as it ships."""
    found = json_schema(Tuned, "edgecvx tune")
    found["$defs"]["Tuned"]["properties"]["schema_version"]["const"] = values.SCHEMA_VERSION
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # there before its fields are, so that a class may contain itself
            definitions[kind.__name__] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if kind is type(None):
        return {"type": "null"}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_schema(a, definitions) for a in arguments]}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is tuple:
        items = [_schema(a, definitions) for a in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    raise EdgecvxError(f"{kind} has no JSON schema")


def _object(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints, descriptions = typing.get_type_hints(cls), _field_docs(cls)
    properties = {}
    for field in dataclasses.fields(cls):
        properties[field.name] = _schema(hints[field.name], definitions)
        if field.name in descriptions:
            properties[field.name]["description"] = descriptions[field.name]
    return {
        "type": "object",
        "description": " ".join((inspect.getdoc(cls) or "").split()),
        "properties": properties,
        # What is written always has all of its keys; a reader may lean on that.
        "required": list(properties),
        "additionalProperties": False,
    }


def _field_docs(cls: type) -> dict[str, str]:
    """The string that stands under each field in the source."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


if __name__ == "__main__":
    assets = Path(__file__).resolve().parents[1] / "edgecvx" / "assets"
    (assets / "validation.schema.json").write_text(validation_schema(), encoding="utf-8")
    (assets / "benchmark.schema.json").write_text(benchmark_schema(), encoding="utf-8")
    (assets / result.SCHEMA_FILE).write_text(sweep_schema(), encoding="utf-8")
    (assets / values.SCHEMA_FILE).write_text(tune_schema(), encoding="utf-8")
