"""HTML out of templates: text is escaped, nothing is loaded, and no single text fills the page.

A template finds the macros of ``assets/report_parts.html.j2`` under their names, and every function of
``edgecvx.results.figures`` as a filter. A section holds its template as text; the page's own is in ``assets``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from importlib import resources
from typing import Any

from edgecvx.errors import missing_package
from edgecvx.results import figures
from edgecvx.results.texts import shorten, writable

NARROW, WIDE = 360, 960
"""Widths that fit a phone or half a page, and a whole page. Text keeps its size, so a plot is drawn for its place."""
LONGEST = 2000
"""Characters of one text on a page. What is longer is no name or sentence any more, and is cut in the middle."""
PARTS = "report_parts.html.j2"

Pairs = Iterable[tuple[str, str]]


class Html(str):
    """Markup of our own: it is not escaped again."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def render(template: str, /, **values: Any) -> Html:
    """What a template makes of values.

    Args:
        template: The text of a section's template, or the name of a file in ``edgecvx/assets``.
        values: What it calls them.

    Raises:
        RuntimeUnavailableError: Jinja2 is not installed.
    """
    return Html(writable(_compiled(template).render(values)))


def figure(title: str, caption: str, plot: Html | Callable[..., Html], *, keys: Pairs = ()) -> Html:
    """A plot with its caption.

    Args:
        title: What it shows.
        caption: In sentences.
        plot: Of half a page, or what draws one of a ``width``: it is drawn for a desk and for a phone.
        keys: Class -> what a mark of that class means.
    """
    narrow, wide = (plot, None) if isinstance(plot, Html) else (plot(width=NARROW), plot(width=WIDE))
    return render(FIGURE, title=title, caption=caption, keys=keys, narrow=narrow, wide=wide)


FIGURE = """\
<figure class="plot{{ ' full' if wide }}">
<figcaption><b class="name">{{ title }}</b> {{ caption }}
{%- if keys %}<div class="keys">
{%- for kind, text in keys %}<span class="key"><i class="{{ kind }}"></i> {{ text }}</span>{% endfor %}</div>{% endif %}
</figcaption>
{% if wide %}<div class="on-wide">{{ wide }}</div>
<div class="on-narrow">{{ narrow }}</div>{% else %}{{ narrow }}{% endif %}
</figure>
"""


@functools.cache
def _compiled(template: str) -> Any:
    return _environment().from_string(template if "<" in template or "{" in template else _asset(template))


@functools.cache
def _environment() -> Any:
    try:
        import jinja2
    except ModuleNotFoundError:
        raise missing_package("Jinja2, which writes HTML reports,", "report") from None
    made = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        loader=jinja2.FunctionLoader(_asset),
        finalize=_bounded,
    )
    made.filters.update((name, value) for name, value in vars(figures).items() if inspect.isfunction(value))
    made.globals.update(verdicts=figures.VERDICTS, absent=figures.ABSENT)
    parts = vars(made.get_template(PARTS).module)
    made.globals.update((name, macro) for name, macro in parts.items() if not name.startswith("_"))
    return made


def _asset(name: str) -> str:
    return (resources.files("edgecvx") / "assets" / name).read_text(encoding="utf-8")


def _bounded(value: Any) -> Any:
    """Plain text is cut; markup of our own is a type of its own, and data URIs are pictures."""
    if type(value) is str and len(value) > LONGEST and not value.startswith("data:image/"):
        return shorten(value, LONGEST)
    return value
