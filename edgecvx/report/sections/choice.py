"""What to take: on each of several devices, or on one of each model."""

from __future__ import annotations

from collections.abc import Iterable

from edgecvx.report import words
from edgecvx.report.join import DevicePart, Pick, Report
from edgecvx.report.markup import Html, render

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
    return over, name, pick.row.key, filter(None, words.figures(pick.row))
