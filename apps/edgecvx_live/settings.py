"""What to run and how: a settings file, and what the command line says over it."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecvx.errors import UsageError
from edgecvx.spec import from_json
from edgecvx_live.sources.base import SIZE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The keys of a settings file, which are the long options of the command line."""

    artifacts: tuple[str, ...] = ()
    """Files ``edgecvx export`` wrote; in a settings file, relative to that file."""
    source: str = "demo"
    size: tuple[int, int] = SIZE
    """Width and height of the frames of a camera or a video."""
    threads: int | None = None
    """Of each runtime; None takes what the file's target recommends, or else leaves it to the runtime."""
    smoothing: float = 0.4
    """Seconds over which answers are averaged; 0 for each frame's own."""
    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None
    """Asked of visitors; where none is said and others can connect, one is made at each start."""

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= 64:
            raise UsageError(f"{self.threads} threads do not work: from 1 to 64")
        if not 0 <= self.smoothing <= 60:
            raise UsageError(f"smoothing over {self.smoothing} s does not work: from 0 to 60 seconds")
        if not 0 <= self.port <= 65535:
            raise UsageError(f"there is no port {self.port}: from 1 to 65535, or 0 for any free one")


def read_settings(path: Path) -> Settings:
    """The settings of a file.

    Raises:
        UsageError: It is missing or no TOML, or a key or value in it makes no sense.
    """
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # also bytes that are no UTF-8
        raise UsageError(f"{path} is not valid TOML: {' '.join(str(error).split())}") from None
    settings = from_json(Settings, data, where=path.name)
    return dataclasses.replace(settings, artifacts=tuple(str(path.parent / name) for name in settings.artifacts))


def over(settings: Settings, said: dict[str, Any]) -> Settings:
    """The settings with what was said on the command line in their place; what was not said is None."""
    return dataclasses.replace(settings, **{key: value for key, value in said.items() if value is not None})
