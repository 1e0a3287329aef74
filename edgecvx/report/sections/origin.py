"""Where the files, their accuracy and their times come from."""

from __future__ import annotations

from edgecvx.report import tables
from edgecvx.report.join import Report
from edgecvx.report.markup import Html, render

TITLE = "Where it comes from"
TEMPLATE = """\
<details>
<summary>The artifacts, to the byte <span class="count">({{ files | length }})</span></summary>
{% for name, pairs in files %}
<details><summary class="name">{{ name }}</summary>{{ facts(pairs) }}</details>
{% endfor %}
</details>
{% if data %}
<details><summary>The pictures</summary>
{% for d, pairs in data %}
{{ facts(pairs) }}
{% if d.skipped %}
<p style="margin-top: 16px">Not counted, by name:</p>
<ul>{% for s in d.skipped %}<li><span class="name">{{ s.name }}</span>: {{ s.reason }}</li>{% endfor %}</ul>
{% endif %}
{% endfor %}
</details>
{% endif %}
{% if protocols %}
<details><summary>How it was measured</summary>{% for pairs in protocols %}{{ facts(pairs) }}{% endfor %}</details>
{% endif %}
{% if read %}
<details><summary>Read from {{ read | length | counted("file") }}</summary>{{ items(read) }}</details>
{% endif %}
"""


def section(report: Report) -> Html | None:
    """Hashes, weights and licences, calibration, pictures, versions, and the files that were read."""
    first = {row.identity.sha256: row for row in reversed(report.rows)}
    files = sorted(first.values(), key=lambda row: row.identity.file)
    return render(
        TEMPLATE,
        files=[(row.identity.file, tables.origin(row)) for row in files],
        data=[(d, tables.pictures(d)) for d in report.data],
        protocols=list(map(tables.protocol, report.benchmarks)),
        read=report.files,
    )
