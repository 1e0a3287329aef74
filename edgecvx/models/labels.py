"""Class names, from where somebody wrote them down.

No list of ImageNet's names ships with this package: none comes with timm's checkpoints or with the libraries used
here, and names made up or half remembered would be worse than none. Predictions then show the class index. A
transformers checkpoint brings its names in ``config.json``; for anything else there is ``--labels``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecvx.errors import UsageError
from edgecvx.files import read_label_text

Labels = str | Path | Sequence[str] | Mapping[int, str] | Mapping[str, str]
"""Class names as somebody gives them: a file, a list in the order of the classes, or id -> name."""

_MAX_BYTES = 16 << 20
"""More than any list of class names; keeps a wrongly named picture or checkpoint from being read as text."""


def labels_for(given: Labels, num_classes: int) -> tuple[str, ...]:
    """The class names of a network, as its user gives them.

    Raises:
        UsageError: They are no names, or do not name exactly ``num_classes`` classes.
    """
    if isinstance(given, str | Path):
        return read_labels(Path(given), num_classes)
    if isinstance(given, Mapping):
        labels = labels_from_ids({str(key): name for key, name in given.items()}, "labels")
    elif isinstance(given, Sequence):
        labels = label_texts(list(given), "labels")
    else:
        raise UsageError(f"labels are a file, a list of names or a table from id to name, not {type(given).__name__}")
    return _checked(labels, num_classes, "labels")


def read_labels(path: Path, num_classes: int) -> tuple[str, ...]:
    """The class names in a file: one per line, a JSON list, or a JSON object ``{"0": name, …}``.

    Raises:
        UsageError: The file cannot be read as such, or does not name exactly ``num_classes`` classes.
    """
    text = read_label_text(path, _MAX_BYTES, "class names")
    if path.suffix.lower() == ".json" or text.lstrip().startswith(("[", "{")):
        labels = _from_json(text, path.name)
    else:
        labels = tuple(line.strip() for line in text.rstrip().splitlines())
    return _checked(labels, num_classes, path.name)


def _checked(labels: tuple[str, ...], num_classes: int, where: str) -> tuple[str, ...]:
    if num_classes == 0:
        raise UsageError(f"{where} names classes, but these weights have no classifier: leave the labels out")
    if len(labels) != num_classes:
        raise UsageError(f"{where} names {len(labels)} classes, the network has {num_classes}")
    if blank := [i for i, label in enumerate(labels) if not label]:
        raise UsageError(f"{where} leaves class {blank[0]} without a name")
    return labels


def labels_from_ids(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The names of a ``{"0": name, "1": name, …}`` table, in the order of the classes.

    Raises:
        UsageError: The ids are not 0, 1, 2, … each once, or a name is no text.
    """
    try:
        by_id = {int(key): value for key, value in table.items()}
    except ValueError:
        raise UsageError(f"{where}: class ids must be whole numbers") from None
    if sorted(by_id) != list(range(len(table))):
        raise UsageError(f"{where}: class ids must run from 0 to {len(table) - 1}, each once")
    return label_texts([by_id[i] for i in range(len(table))], where)


def are_placeholders(labels: tuple[str, ...]) -> bool:
    """Whether these are only transformers' ``LABEL_0, LABEL_1, …``, which it writes where nobody named the classes."""
    return all(re.fullmatch(r"LABEL_\d+", label) for label in labels)


def _from_json(text: str, where: str) -> tuple[str, ...]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not valid JSON: {error}") from None
    if isinstance(data, list):
        return label_texts(data, where)
    if isinstance(data, dict):
        return labels_from_ids(data, where)
    raise UsageError(f"{where} must hold a list of names, or an object from class id to name")


def label_texts(values: list[Any], where: str) -> tuple[str, ...]:
    """The names of a list, in the order of the classes.

    Raises:
        UsageError: A name is no text.
    """
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise UsageError(f"{where}: the name of class {i} must be text, got {value!r:.40}")
    return tuple(value.strip() for value in values)
