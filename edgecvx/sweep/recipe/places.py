"""Where in a TOML file each key stands, so that an error can point at it: the parser itself tells values alone."""

from __future__ import annotations

from dataclasses import dataclass, field

Path = tuple[str | int, ...]
"""``("models", 1, "weights")``: the second model's weights."""

_BLANK, _LINES = " \t", " \t\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line and a column, both from 1."""

    line: int
    column: int


def places_of(text: str) -> dict[Path, Place]:
    """The place of every key, table and list element.

    Args:
        text: A document that the parser took: nothing is checked again.
    """
    walk = _Walk(text)
    walk.document()
    return walk.found


def nearest(places: dict[Path, Place], path: Path) -> Place:
    """The place of a key, or of the nearest thing around it that is written down."""
    while path and path not in places:
        path = path[:-1]
    return places.get(path, Place(line=1, column=1))


@dataclass(slots=True)
class _Walk:
    """One pass over a document."""

    text: str
    at: int = 0
    found: dict[Path, Place] = field(default_factory=dict)
    tables: dict[Path, int] = field(default_factory=dict)
    """Lists of tables, and how many each has so far."""

    def document(self) -> None:
        around: Path = ()
        while self._skip(_LINES):
            if self.text[self.at] == "[":
                around = self._header()
            else:
                self._pair(around)

    def _header(self) -> Path:
        """``[table]`` or ``[[table]]``; what follows is in it."""
        began, several = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if several else 1
        names = [name for name, _ in self._names()]
        self.at = self.text.index("]", self.at) + (2 if several else 1)
        path: Path = ()
        for name in names[:-1]:
            path = self._within((*path, name))
        path = (*path, names[-1])
        if several:
            self.tables[path] = self.tables.get(path, 0) + 1
            self._note(path, began)
            path = self._within(path)
        self._note(path, began)
        return path

    def _within(self, path: Path) -> Path:
        """The latest table of a list of tables, or the table itself."""
        return (*path, self.tables[path] - 1) if path in self.tables else path

    def _pair(self, around: Path) -> None:
        """``key = value``; a dotted key makes tables on its way."""
        path = around
        for name, began in self._names():
            path = (*path, name)
            self._note(path, began)
        self.at = self.text.index("=", self.at) + 1
        self._value(path)

    def _names(self) -> list[tuple[str, int]]:
        """The parts of a key, and where each begins."""
        names = []
        while True:
            self._skip(_BLANK)
            began = self.at
            if self.text[self.at] in "\"'":
                self._string()
                names.append((self.text[began + 1 : self.at - 1], began))
            else:
                while self.text[self.at].isalnum() or self.text[self.at] in "-_":
                    self.at += 1
                names.append((self.text[began : self.at], began))
            self._skip(_BLANK)
            if self.text[self.at] != ".":
                return names
            self.at += 1

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        first = self.text[self.at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._list(path)
        elif first == "{":
            self._table(path)
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                self.at += 1

    def _list(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self._skip(_LINES + ",") and self.text[self.at] != "]":
            self._note((*path, index), self.at)
            self._value((*path, index))
            index += 1
        self.at += 1

    def _table(self, path: Path) -> None:
        self.at += 1
        while self._skip(_LINES + ",") and self.text[self.at] != "}":
            self._pair(path)
        self.at += 1

    def _string(self) -> None:
        """Goes behind a string of any of the four kinds."""
        sign = self.text[self.at]
        quotes = 3 * sign if self.text.startswith(3 * sign, self.at) else sign
        self.at += len(quotes)
        while not self.text.startswith(quotes, self.at):
            self.at += 2 if sign == '"' and self.text[self.at] == "\\" else 1
        self.at += len(quotes)
        while len(quotes) == 3 and self.text.startswith(sign, self.at):  # a string may end in quotes of its own
            self.at += 1

    def _skip(self, signs: str) -> bool:
        """Goes behind these signs, and behind comments where lines are among them; False at the end."""
        while self.at < len(self.text):
            if self.text[self.at] == "#" and "\n" in signs:
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.text[self.at] in signs:
                self.at += 1
            else:
                return True
        return False

    def _note(self, path: Path, at: int) -> None:
        line = self.text.count("\n", 0, at) + 1
        self.found.setdefault(path, Place(line=line, column=at - self.text.rfind("\n", 0, at)))
