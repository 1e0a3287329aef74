"""What a data set calls its classes, and which logit that is.

How a class name becomes the index of a logit, the first rule that fits:

1. whole numbers are the indices themselves, counted from 0;
2. every name is one of the network's labels, or one of several between commas ("tench, Tinca tinca"), apart from case
   and ``_`` or ``-`` for a space;
3. no name is one of its labels, and there are as many names as classes: they are numbered in the order of their code
   points, as torchvision does it. ImageNet's ``n01440764 …`` are numbered so.

Anything else is refused, because a wrong guess looks like a bad model.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from edgecvx.data.folder import Picture
from edgecvx.errors import UsageError
from edgecvx.files import read_label_text

_MAX_BYTES = 256 << 20
_HEADERS = {"label", "labels", "class", "class_id", "classid", "class_name", "target", "y", "predictionstring", "index"}


def class_indices(names: Iterable[str], num_classes: int, labels: Sequence[str] | None, where: str) -> dict[str, int]:
    """The index of each class name, by the rules of this module.

    Raises:
        UsageError: No rule fits.
    """
    unique = sorted(set(names))
    if all(re.fullmatch(r"[0-9]{1,9}", name) for name in unique):
        return _numbered(unique, num_classes, where)
    by_label: dict[str, list[int]] = {}
    by_synonym: dict[str, list[int]] = {}
    for index, label in enumerate(labels or ()):
        by_label.setdefault(plain(label), []).append(index)
        for synonym in {plain(part) for part in label.split(",")}:
            by_synonym.setdefault(synonym, []).append(index)
    known = {name: by_label.get(plain(name)) or by_synonym.get(plain(name), []) for name in unique}
    if all(len(indices) == 1 for indices in known.values()):
        result = {name: indices[0] for name, indices in known.items()}
        if len(set(result.values())) < len(result):
            raise UsageError(f"{where}: two of its class names mean the same class of the network")
        return result
    unknown = [name for name, indices in known.items() if len(indices) != 1]
    if len(unknown) == len(unique) == num_classes:
        return {name: index for index, name in enumerate(unique)}
    some = ", ".join(repr(name) for name in unknown[:3]) + (", …" if len(unknown) > 3 else "")
    if len(unknown) < len(unique):
        raise UsageError(
            f"{where}: {len(unknown)} of {len(unique)} class names are none of the network's, or more than one: {some}"
        )
    raise UsageError(
        f"{where} has {len(unique)} classes ({some}), the network {num_classes}, and the names are not the network's: "
        "name them by its labels or its indices, give a label file, or compare answers only with --truth none"
    )


def _numbered(names: Sequence[str], num_classes: int, where: str) -> dict[str, int]:
    result = {name: int(name) for name in names}
    if max(result.values()) >= num_classes:
        one_based = min(result.values()) >= 1 and max(result.values()) == num_classes
        hint = "; they seem to be counted from 1, the network counts from 0" if one_based else ""
        raise UsageError(f"{where}: class {max(result.values())} is not one of 0 to {num_classes - 1}{hint}")
    if len(set(result.values())) < len(result):
        raise UsageError(f"{where}: the same class number is written in two ways, such as 7 and 07")
    return result


def plain(name: str) -> str:
    """A class name apart from case, ``_`` and ``-``."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def read_truth(path: Path) -> dict[str, str]:
    """A label file: from the name of a picture or folder to the name or index of its class.

    Raises:
        UsageError: It cannot be read, a line has no label, or two lines contradict each other.
    """
    text = read_label_text(path, _MAX_BYTES, "labels")
    result: dict[str, str] = {}
    for number, name, label in _truth_lines(text, path.name):
        if result.setdefault(name, label) != label:
            raise UsageError(f"{path.name}, line {number}: {name!r} is {label!r} here and {result[name]!r} before")
    if not result:
        raise UsageError(f"{path.name} holds no labels")
    return result


def _truth_lines(text: str, where: str) -> Iterator[tuple[int, str, str]]:
    """Line number, name and label of each line that has them; the header of a CSV file is left out."""
    lines = text.splitlines()
    with_commas = sum("," in line for line in lines) * 2 > len(lines)
    rows = csv.reader(io.StringIO(text, newline=None)) if with_commas else (_split(line) for line in lines)
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if len(cells) < 2 or not cells[0] or not cells[1]:
            raise UsageError(
                f"{where}, line {number}: expected a picture's name and its label, got {' '.join(cells)[:60]!r}; a "
                "bare list of labels does not say which picture each belongs to"
            )
        if number == 1 and with_commas and cells[1].lower() in _HEADERS:
            continue
        # ImageNet's own solution file has the class and then boxes in one cell: "n03995372 85 1 499 272".
        yield number, cells[0].replace("\\", "/"), re.sub(r"^(n[0-9]{8})\s.*$", r"\1", cells[1])


def _split(line: str) -> list[str]:
    """``name label``: by a tab if there is one, else by the first space, so that a label may be of several words."""
    return line.strip().split("\t" if "\t" in line else None, 1)


def match_truth(
    pictures: Sequence[Picture], written: Mapping[str, str], where: str, folder: str
) -> tuple[dict[str, str], list[str]]:
    """The class name of each picture that the label file knows, and the entries it has no picture for."""
    names: dict[str, str] = {}
    used = set()
    times = Counter(PurePosixPath(entry).name for entry in written)
    # "val/0001.JPEG", written from one folder further up, is meant by its last part if no other entry ends so.
    by_last = {name: entry for entry in written if times[name := PurePosixPath(entry).name] == 1}
    for picture in pictures:
        path = PurePosixPath(picture.name)
        candidates = (picture.name, path.name, path.stem, *(p.as_posix() for p in path.parents if p.name))
        entry = next((candidate for candidate in candidates if candidate in written), by_last.get(path.name))
        if entry is not None:
            names[picture.name] = written[entry]
            used.add(entry)
    if 2 * len(names) < len(pictures) or not names:
        known = next(iter(written))
        raise UsageError(
            f"{where} knows only {len(names)} of the {len(pictures)} pictures in {folder} (it names {known!r}, for "
            "example): it belongs to another folder"
        )
    return names, [entry for entry in written if entry not in used]
