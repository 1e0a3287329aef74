"""A report as one HTML page: a part per device, then the accuracy, then where everything comes from.

What each section shows is its own business (``edgecvx.report.sections``); which there are, where and in which order
stands here, and how they look in ``assets/report.html.j2``. Long lists fold: what matters is shown, the rest is one
click away, and two hundred artifacts stay a page one can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from edgecvx.report import words
from edgecvx.report.join import Report
from edgecvx.report.markup import Html, render
from edgecvx.report.sections import choice, distribution, origin, over_time, ranking, runs, state, to_know, tradeoff
from edgecvx.report.sections.accuracy import answers, changes, layers, losses

TEMPLATE = "report.html.j2"
UNFOLDED = 12
"""Artifacts that are shown one by one where no device was measured; with more of them, or with devices, they fold."""


class Module(Protocol):
    """What every section is."""

    TITLE: str

    def section(self, part: Any, /) -> Html | None:
        """What it shows of a part; None where there is nothing to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section's place."""

    of: Literal["report", "device", "accuracy", "artifact", "foot"]
    module: Module
    look: Literal["bare", "headed", "folded"] = "bare"
    """With its title above it, with its title to click on, or without one."""


SECTIONS = (
    Section(of="report", module=choice),
    Section(of="report", module=to_know),
    Section(of="device", module=choice),
    Section(of="device", module=to_know),
    Section(of="device", module=tradeoff),
    Section(of="device", module=ranking, look="headed"),
    Section(of="device", module=distribution),
    Section(of="device", module=over_time),
    Section(of="device", module=runs, look="folded"),
    Section(of="device", module=state, look="folded"),
    Section(of="accuracy", module=changes),
    Section(of="artifact", module=answers),
    Section(of="artifact", module=layers),
    Section(of="artifact", module=losses, look="headed"),
    Section(of="foot", module=origin),
)
"""In the order of the page."""


def page(report: Report, *, above: Html | None = None) -> str:
    """The report as one self-contained HTML page, which runs no script and loads nothing.

    Args:
        report: What is known.
        above: What comes before everything else: a table over more than one device, for one.

    Raises:
        RuntimeUnavailableError: Jinja2 is not installed.
    """
    headline, alone = words.headline(report), not report.devices and len(report.validations) == 1
    title = report.title or (words.verdict(report.validations[0]) if alone else headline)
    return render(
        TEMPLATE,
        report=report,
        title=title,
        lead=words.lead(report) if title == headline else f"{headline}. {words.lead(report)}",
        top=Html((above or "") + _of("report", report)),
        devices=[(device, _of("device", device)) for device in report.devices],
        accuracy=_of("accuracy", report),
        artifacts=[(a, _of("artifact", a)) for a in report.judged],
        unfolded=not report.devices and len(report.judged) <= UNFOLDED,
        foot=_of("foot", report),
        gates=dict.fromkeys(map(words.gate, report.validations)),
    )


def _of(place: str, part: Any) -> Html:
    """All sections of a part of the page."""
    level = "h4" if place == "artifact" else "h3"
    made = ((s, s.module.section(part)) for s in SECTIONS if s.of == place)
    framed = (render(FRAMES[s.look], title=s.module.TITLE, body=body, level=level) for s, body in made if body)
    return Html("".join(framed))


FRAMES = {
    "bare": "{{ body }}",
    "headed": "<{{ level }}>{{ title }}</{{ level }}>\n{{ body }}",
    "folded": "<details><summary>{{ title }}</summary>{{ body }}</details>\n",
}
