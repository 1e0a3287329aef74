"""A page out of a template of ``assets``: text is escaped, nothing is loaded, and no single text fills the page."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from edgecvx.errors import missing_package
from edgecvx.results.texts import shorten, writable

LONGEST = 2000
"""Characters of one text on a page. What is longer is no name or sentence any more, and is cut in the middle."""


def render(template: str, values: Mapping[str, Any]) -> str:
    """The page that a template makes of values.

    Args:
        template: Its name in ``edgecvx/assets``.
        values: What it calls them.

    Raises:
        RuntimeUnavailableError: Jinja2 is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError:
        raise missing_package("Jinja2, which writes HTML reports,", "report") from None
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        loader=jinja2.FunctionLoader(_source),
        finalize=_bounded,
    )
    return writable(environment.get_template(template).render(values))


def _source(name: str) -> str:
    return (resources.files("edgecvx") / "assets" / name).read_text(encoding="utf-8")


def _bounded(value: Any) -> Any:
    """Plain text is cut; markup of our own (``| safe``) is a type of its own, and data URIs are pictures."""
    if type(value) is str and len(value) > LONGEST and not value.startswith("data:image/"):
        return shorten(value, LONGEST)
    return value
