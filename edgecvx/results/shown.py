"""What a notebook shows of a result: what ``print`` gives, where all of its values are thousands of characters."""

from __future__ import annotations

from typing import Any


def as_printed(result: object, printer: Any, cycle: bool) -> None:
    """A class's ``_repr_pretty_``, which IPython asks for; ``repr`` stays whole.

    It has to stand in the class itself: of a class and its bases, IPython takes the first that has this or a
    ``__repr__``, and a dataclass has one.
    """
    printer.text(str(result))
