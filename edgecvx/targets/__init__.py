"""What differs from target to target, as data: every format is one, and every device."""

from __future__ import annotations

from edgecvx.errors import one_of
from edgecvx.export.formats import FORMATS, get_format
from edgecvx.targets.base import Target
from edgecvx.targets.devices import DEVICES

TARGETS = (*FORMATS, *DEVICES)
"""Their names, in the order they are shown."""


def get_target(name: str) -> Target:
    """The target of this name.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    if name not in TARGETS:
        raise one_of("target", name, TARGETS)
    return DEVICES[name] if name in DEVICES else Target.of(get_format(name))


def all_targets() -> list[Target]:
    """Every target, in the order they are shown."""
    return [get_target(name) for name in TARGETS]
