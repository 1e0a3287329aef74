"""A device's own facts, and its state before and after."""

from __future__ import annotations

from edgecvx.report import tables, words
from edgecvx.report.join import DevicePart
from edgecvx.report.markup import Html, render

TITLE = "The device, before and after"
TEMPLATE = """\
<p>{{ noise }}</p>
{{ facts(device) }}
{% for at, rows in conditions %}
<table class="before-after">
{% if conditions | length > 1 %}<caption>Measured {{ at }}</caption>{% endif %}
<thead><tr><td></td><th scope="col">before</th><th scope="col">after</th></tr></thead>
<tbody>
{%- for name, before, after in rows %}
<tr><th scope="row">{{ name }}</th><td class="name">{{ before }}</td><td class="name">{{ after }}</td></tr>
{%- endfor %}</tbody>
</table>
{% endfor %}
"""


def section(device: DevicePart) -> Html | None:
    """A table of the state for each call."""
    return render(
        TEMPLATE,
        noise=words.noise(device),
        device=tables.device_facts(device.fingerprint),
        conditions=[(b.before.at, tables.conditions(b.before, b.after)) for b in device.benches],
    )
