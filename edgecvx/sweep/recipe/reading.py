"""A recipe, read from its TOML file: an error names the file, the line and the column of the key that is wrong."""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgecvx.data.dataset import DEMO, NO_TRUTH
from edgecvx.errors import Page, UsageError, about
from edgecvx.sweep.recipe.places import nearest, places_of
from edgecvx.sweep.recipe.values import Key, Recipe, RecipeError, Where

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

LARGEST = 1 << 20
"""Bytes of a recipe; what is larger is something else."""
_WORDS = {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRecipe:
    """A recipe, and where the names of files in it begin."""

    recipe: Recipe
    path: Path
    text: str

    @property
    def folder(self) -> Path:
        """Relative paths of a recipe are relative to its own folder."""
        return self.path.parent


@about(Page.RECIPE)
def read_recipe(path: Path) -> ReadRecipe:
    """Reads and checks a recipe, up to whether the files it names are there.

    Raises:
        UsageError: It cannot be read, or something in it makes no sense: ``FILE:LINE:COLUMN: what``.
    """
    text = _text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        sentence, _, place = str(error).rstrip(")").partition(" (at line ")
        numbers = place.replace(", column ", ":") if ", column " in place else f"{len(text.splitlines()) or 1}:1"
        raise UsageError(f"{path}:{numbers}: this is no TOML: {sentence}") from None
    places = places_of(text)
    try:
        recipe = _dataclass(Recipe, data, ())
        resolved = _resolved(recipe, path.parent)
    except RecipeError as wrong:
        at = nearest(places, wrong.key)
        raise UsageError(f"{path}:{at.line}:{at.column}: {wrong}") from None
    return ReadRecipe(recipe=resolved, path=path, text=text)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"{path} is larger than a megabyte: it is no recipe")
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text, and so no recipe") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None


def _dataclass(cls: type[T], data: object, path: Key) -> T:
    """A value out of a table, checked key by key."""
    if not isinstance(data, dict):
        raise RecipeError(path, f"{_called(path)} is a table, not {data!r:.60}")
    known = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls))}
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise RecipeError((*path, key), f"unknown key {key!r} in {_called(path)}: {hint}")
    for name, f in known.items():
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in data:
            raise RecipeError(path, f"{_called(path)} needs {name}")
    hints = typing.get_type_hints(cls)
    values = {key: _value(hints[key], value, (*path, key), loose=cls is Where) for key, value in data.items()}
    try:
        return cls(**values)
    except RecipeError as wrong:
        raise RecipeError((*path, *wrong.key), str(wrong)) from None


def _called(path: Key) -> str:
    """What an error calls a part of a recipe."""
    names = [part for part in path if isinstance(part, str)]
    return f"[{'.'.join(names)}]" if names else "a recipe"


def _value(kind: Any, data: Any, path: Key, *, loose: bool) -> Any:
    """One value of type ``kind``; where ``loose``, one pattern stands for a list of one, and a number for its text."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [a for a in args if a is not type(None)]
        return _value(inner, data, path, loose=loose)
    if origin is tuple:
        listed = [data] if loose and not isinstance(data, list) else data
        if not isinstance(listed, list):
            raise RecipeError(path, f"{path[-1]} is a list in brackets, not {data!r:.60}")
        return tuple(_value(args[0], item, (*path, index), loose=loose) for index, item in enumerate(listed))
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast(type, kind), data, path)
    if loose and kind is str and isinstance(data, int) and not isinstance(data, bool):
        return str(data)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise RecipeError(path, f"{_last(path)} is {_WORDS[kind]}, not {data!r:.60}")
    return data


def _last(path: Key) -> str:
    return str(next(part for part in reversed(path) if isinstance(part, str)))


def _resolved(recipe: Recipe, folder: Path) -> Recipe:
    """With every path made absolute, where what it names is there."""
    models = [
        dataclasses.replace(
            m,
            model=_model(m.model, folder, ("models", i, "model")),
            weights=_model(m.weights, folder, ("models", i, "weights")),
            labels=_path(m.labels, folder, ("models", i, "labels")),
        )
        for i, m in enumerate(recipe.models)
    ]
    calibrations = [
        dataclasses.replace(c, pictures=_pictures(c.pictures, folder, ("calibrations", i, "pictures")))
        for i, c in enumerate(recipe.calibrations)
    ]
    data = [
        dataclasses.replace(
            d,
            pictures=_pictures(d.pictures, folder, ("data", i, "pictures")),
            truth=d.truth if d.truth == NO_TRUTH else _path(d.truth, folder, ("data", i, "truth")),
        )
        for i, d in enumerate(recipe.data)
    ]
    devices = [
        dataclasses.replace(d, adb_benchmark=_path(d.adb_benchmark, folder, ("devices", i, "adb_benchmark")))
        for i, d in enumerate(recipe.devices)
    ]
    return dataclasses.replace(
        recipe,
        models=tuple(models),
        calibrations=tuple(calibrations),
        data=tuple(data),
        devices=tuple(devices),
    )


def _path(text: str | None, folder: Path, key: Key) -> str | None:
    if text is None:
        return None
    found = (folder / Path(text).expanduser()).absolute()
    if not found.exists():
        raise RecipeError(key, f"there is no {found}: paths are relative to the recipe")
    return str(found)


def _pictures(text: str, folder: Path, key: Key) -> str:
    if text == DEMO:
        return text
    found = str(_path(text, folder, key))
    if not Path(found).is_dir():
        raise RecipeError(key, f"{found} is no folder of pictures")
    return found


def _model(text: str, folder: Path, key: Key) -> str:
    """A name as it is; what looks like a path, and is no hub id, as the path."""
    looks_so = Path(text).suffix.lower() in _SUFFIXES or text.startswith((".", "/", "~"))
    return str(_path(text, folder, key)) if looks_so else text


_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
"""Of weights files; which of them can be read is told by who reads them."""
