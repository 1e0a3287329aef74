"""Plain JSON values, read into dataclasses: a key that is silently ignored is a setting that is not applied."""

from __future__ import annotations

import dataclasses
import enum
import functools
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast

T = TypeVar("T")

_UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))
"""``X | None`` is of a type of its own since Python 3.10."""


def read(cls: type[T], data: object, where: str, error: type[Exception]) -> T:
    """The dataclass whose fields a JSON object holds, checked key by key.

    Args:
        cls: The dataclass to build. Its annotations are evaluated: on Python 3.9 they cannot say ``X | None``.
        data: What ``json.loads`` gave.
        where: How to name the value in an error.
        error: What is raised; where the dataclass itself raises it, ``where`` is put in front.
    """
    return cast(T, _read(cls, data, where, error))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _read(kind: Any, data: Any, where: str, refused: type[Exception]) -> Any:
    """One value of type ``kind``."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(cast(type, kind), data, where, refused)
    if origin in _UNIONS:
        if data is None and type(None) in args:
            return None
        (inner,) = [a for a in args if a is not type(None)]
        return _read(inner, data, where, refused)
    if origin is Literal:
        if data in args:
            return data
        raise refused(f"{where}: {reprlib.repr(data)} is not one of {', '.join(map(repr, args))}")
    if origin is tuple:
        fixed = args[-1] is not Ellipsis
        if not isinstance(data, list) or (fixed and len(data) != len(args)):
            raise refused(f"{where}: expected a list{f' of {len(args)}' if fixed else ''}, got {reprlib.repr(data)}")
        kinds = args if fixed else [args[0]] * len(data)
        return tuple(_read(k, v, f"{where}[{i}]", refused) for i, (k, v) in enumerate(zip(kinds, data)))
    if origin in (dict, Mapping):
        return {k: _read(args[1], v, f"{where}.{k}", refused) for k, v in _object(data, where, refused).items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(data)
        except ValueError:
            raise refused(f"{where}: {reprlib.repr(data)} is not one of {', '.join(m.value for m in kind)}") from None
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        try:
            return float(data)
        except OverflowError:
            raise refused(f"{where}: {reprlib.repr(data)} is too large") from None
    if kind is Any or (isinstance(data, kind) and not (kind in (int, float) and isinstance(data, bool))):
        return data
    raise refused(f"{where}: expected {kind.__name__}, got {reprlib.repr(data)}")


def _read_dataclass(cls: type, data: Any, where: str, refused: type[Exception]) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    if unknown := sorted(set(_object(data, where, refused)) - set(fields)):
        raise refused(f"{where}: unknown {', '.join(unknown)}")
    required = {
        n for n, f in fields.items() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - set(data)):
        raise refused(f"{where}: missing {', '.join(missing)}")
    hints = _hints(cls)
    values = {name: _read(hints[name], item, f"{where}.{name}", refused) for name, item in data.items()}
    try:
        return cls(**values)
    except refused as error:
        raise type(error)(f"{where}: {error}") from None


def _object(data: Any, where: str, refused: type[Exception]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise refused(f"{where}: expected an object, got {reprlib.repr(data)}")
    return data
