"""What a reader has to know before using the figures of a report, or of one of its devices."""

from __future__ import annotations

from edgecvx.report.join import DevicePart, Report
from edgecvx.report.markup import Html, render
from edgecvx.report.remarks import device_remarks, general_remarks
from edgecvx.results.figures import sentence

TITLE = "To know"
TEMPLATE = """\
<div class="remarks" role="note" aria-label="{{ title }}">
{{ items(remarks[:8]) }}
{% if remarks | length > 8 %}
<details><summary>{{ remarks | length - 8 }} more to know</summary>{{ items(remarks[8:]) }}</details>
{% endif %}
</div>
"""


def section(part: Report | DevicePart) -> Html | None:
    """The remarks, those behind the eighth folded."""
    if isinstance(part, Report):
        title, remarks = TITLE, (*map(sentence, part.warnings), *general_remarks(part))
    else:
        title, remarks = f"{TITLE} about {part.title}", device_remarks(part)
    return render(TEMPLATE, title=title, remarks=remarks) if remarks else None
