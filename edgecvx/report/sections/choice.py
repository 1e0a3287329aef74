"""What to take: on each of several devices, or on one of each model."""

from __future__ import annotations

from collections.abc import Iterable

from edgecvx.report import words
from edgecvx.report.join import DevicePart, Pick, Report
from edgecvx.report.markup import Html, render
from edgecvx.results.figures import interval_text, milliseconds, percent, points, span, times
from edgecvx.results.latency import percentile

TITLE = "What to take"
MOST = 12
TEMPLATE = """\
{% if described %}<p class="soft name">{{ described }}</p>{% endif %}
{% if take %}<p class="take{{ "" if picked else " none" }}">{{ take }}</p>{% endif %}
{% if cards %}
<ul class="cards" aria-label="{{ title }}">
{%- for over, name, link, figures in cards %}
  <li><span class="over">{{ over }}</span><a class="pick name" href="#{{ link }}">{{ name }}</a>
    <span class="figures">{% for figure in figures %}<span>{{ figure }}</span>{% endfor %}</span></li>
{%- endfor %}
</ul>
{% endif %}
"""


def section(part: Report | DevicePart) -> Html | None:
    """Of a report a card per device; of a device a sentence with its numbers, and a card per model."""
    if isinstance(part, Report):
        cards = [_card(d.picks[0], d.title, d.picks[0].row.label) for d in part.devices if d.picks]
        device = {"described": "", "take": "", "picked": False}
    else:
        cards = [_card(p, p.row.label, p.row.identity.model) for p in part.picks[:MOST]]
        device = {"described": words.described(part.fingerprint), "take": words.take(part), "picked": bool(part.picks)}
    return render(TEMPLATE, title=TITLE, cards=cards if len(cards) > 1 else (), **device)


def _card(pick: Pick, over: str, name: str) -> tuple[str, str, str, Iterable[str]]:
    row = pick.row
    p50, top1 = percentile(row.summary, 0.5), row.paired
    figures = [f"p50 {milliseconds(row.p50 or 0.0)}"]
    if p50 and p50.interval:
        figures[0] += f" {interval_text(p50.interval.low, p50.interval.high)}"
    if top1:
        figures.append(f"top-1 {percent(top1.artifact.value)}, {points(top1.delta)} {span(top1.interval)}")
    if row.against_fp32:
        figures.append(f"{times(row.against_fp32.value)} the time of the FP32 file")
    return over, name, row.key, figures
