"""Where the error of one artifact is born."""

from __future__ import annotations

from functools import partial

from edgecvx.report import words
from edgecvx.report.join import Accuracy
from edgecvx.report.markup import Html, figure, render
from edgecvx.report.plots.accuracy import depth
from edgecvx.report.tables import layer_cells
from edgecvx.results.figures import counted
from edgecvx.results.layers import ranked, suspects

TITLE = "Where the error is born"
RANKED_SHOWN = 8
KEYS = (("", "in total, with the errors of all layers before"), ("born", "born in this layer alone"))
SUSPECT = ("suspect", "stands out from its kind")
NAMES = ("what it is", "born here", "in total", "worst channel")
TEMPLATE = """\
{{ plot }}
<h4>Layers by the error born in them</h4>
<div class="scroll stack"><table>
<thead><tr><th scope="col">layer</th>
{%- for name in names %}<th scope="col"{{ "" if loop.first else " class=num" }}>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for cells, suspect, not_finite in rows %}
<tr><th scope="row"><code class="name">{{ cells[0] }}</code>
{%- if suspect %} <span class="verdict fail">stands out</span>{% endif %}</th>
{%- for cell in cells[1:] %}<td{{ "" if loop.first else " class=num" }} data-name="{{ names[loop.index0] }}">{{ cell }}
{%- if loop.index0 == 1 and not_finite %}<small>{{ not_finite }} not finite</small>{% endif %}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
"""


def section(accuracy: Accuracy) -> Html | None:
    """A plot along the depth, and the layers in which most is born; None where nobody looked."""
    layers = accuracy.outcome.layers
    if not layers:
        return None
    found = suspects(layers)
    caption = "Signal to noise of every inner tensor in decibels; higher is closer to FP32. " + words.layers(
        accuracy.outcome
    )
    if any(layer.local_sqnr_db is None for layer in layers):
        caption += " What lies on the upper edge is identical."
    keys = (*KEYS, SUSPECT) if found else KEYS
    rows = [
        (layer_cells(layer), layer in found, layer.not_finite and counted(layer.not_finite, "value is", "values are"))
        for layer in ranked(layers)[:RANKED_SHOWN]
    ]
    plot = figure(TITLE, caption, partial(depth, layers, found), keys=keys)
    return render(TEMPLATE, plot=plot, rows=rows, names=NAMES)
