"""The pictures on which one artifact lost most."""

from __future__ import annotations

import base64

from edgecvx.report.join import Accuracy
from edgecvx.report.markup import Html, render
from edgecvx.results.accuracy import Loss

TITLE = "Pictures behind the biggest losses"
TEMPLATE = """\
<ul class="pictures">
{% for loss, truth, image in losses %}
<li>
{% if image %}<img src="{{ image }}" alt="{{ loss.picture }}" loading="lazy">
{% else %}<div class="blank name">{{ loss.picture }}</div>{% endif %}
<p>{% if truth %}<span class="soft">is</span> <b class="name">{{ truth }}</b><br>{% endif %}
{% for who, answer in (("reference", loss.reference), ("artifact", loss.artifact)) %}
<span class="soft">{{ who }}</span> <span class="name">{{ answer.label }}, {{ answer.probability | percent(0) }}</span>
{%- if loop.first %}<br>{% endif %}{% endfor %}</p>
{% if image %}<p class="soft small name">{{ loss.picture }}</p>{% endif %}
</li>
{% endfor %}
</ul>
"""


def section(accuracy: Accuracy) -> Html | None:
    """Each with what both say of it, and small where somebody has it; None where nothing was lost, or room is short."""
    if not accuracy.plotted:
        return None
    images = {name: _data_uri(content) for name, content in accuracy.thumbnails.items()}
    losses = [(loss, _truth(loss), images.get(loss.picture)) for loss in accuracy.outcome.losses]
    return render(TEMPLATE, losses=losses) if losses else None


def _truth(loss: Loss) -> str:
    if loss.truth_label is not None:
        return loss.truth_label
    return "" if loss.truth is None else f"class {loss.truth}"


def _data_uri(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
