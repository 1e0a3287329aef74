"""What a target is: the name a user types, and everything that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from edgecvx.errors import UsageError
from edgecvx.export.base import Format, check_schemes, load_attribute
from edgecvx.export.formats import FORMATS, get_format
from edgecvx.graph.scheme import Scheme
from edgecvx.native.platforms import this_platform
from edgecvx.spec import Precision, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A format, as it is or as one device takes it best. Data only."""

    name: str
    title: str
    format: Format
    schemes: Mapping[Precision, Scheme]
    """How each of its integer precisions is quantized."""
    threads: int | None = None
    """How many threads are recommended on this device; None leaves it to the runtime."""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What differs from the lowering's own defaults."""
    note: str

    def __post_init__(self) -> None:
        check_schemes(self.name, self.schemes)

    @classmethod
    def of(cls, format: Format, **changes: Any) -> Target:
        """The target of a format, with what differs from it."""
        own = {"name": format.name, "title": format.title, "schemes": format.schemes, "note": format.note}
        return cls(format=format, **{**own, **changes})

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Every precision this target has files of."""
        return (*self.format.floats, *self.schemes)

    def check_precision(self, precision: Precision) -> None:
        """Refuses a precision this target has no file for; nothing is replaced by another one."""
        if precision not in self.precisions:
            known = ", ".join(p.value for p in self.precisions)
            others = [f for f in FORMATS if f != self.format.name and precision in get_format(f).precisions]
            hint = f"; {precision.value} is in {', '.join(others)}" if others else ""
            raise UsageError(f"target {self.name} has no {precision.value}: it has {known}{hint}")

    def as_json(self) -> dict[str, Any]:
        """What a program that chooses a target has to know of it."""
        format = self.format
        return {
            **{"name": self.name, "title": self.title, "format": format.kind, "suffix": format.suffix},
            **{"runtime": format.runtime, "proved_in": format.proved_in, "extra": format.extra},
            **{"floats": to_json(format.floats), "schemes": to_json(self.schemes)},
            **{"threads": self.threads, "settings": to_json(self.settings), "note": self.note},
        }

    @property
    def has_platforms(self) -> bool:
        """Whether its artifacts bring a library for each platform they are to run on."""
        return "platforms" in (option.name for option in fields(load_attribute(self.format.options)))

    def options(self, precision: Precision, platforms: Sequence[str] = ()) -> Any:
        """The options of its format's lowering.

        Args:
            precision: Of the file.
            platforms: Where it is to run, for a target that has platforms; its own by default, or this machine's.
        """
        options = load_attribute(self.format.options)(precision=precision, **self.settings)
        if not self.has_platforms:
            return options
        return replace(options, platforms=tuple(platforms or options.platforms or (this_platform().name,)))
