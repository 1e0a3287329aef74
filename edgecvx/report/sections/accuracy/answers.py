"""How well one artifact answers: what is wrong with it, its figures, and how it differs from the reference."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from edgecvx.report import words
from edgecvx.report.join import Accuracy
from edgecvx.report.markup import Html, figure, render
from edgecvx.report.plots import accuracy as plots
from edgecvx.results.accuracy import ArtifactOutcome
from edgecvx.results.figures import cosine, count, decibels, p_value, percent, points, small, span

TITLE = "How well it answers"
CLASSES_SHOWN = 10
TEMPLATE = """\
{% macro cell(number, name) %}
<td{% if number %} class="{{ name }}"{% endif %}><div>{{ number | count }}<small>{{ name }}</small></div></td>
{% endmacro %}
{% set i = o.identity %}
<p class="soft">{{ i.model }}, {{ i.precision }} for {{ i.target }}, run in {{ i.runtime }}
{%- if i.runtime_version %} {{ i.runtime_version }}{% endif %}; {{ i.bytes | megabytes }},
{{ o.pictures | counted("picture") }}.
{%- if o.recheck %} {{ o.recheck.sentence | sentence }}{% endif %}</p>
<p>{{ o.verdict.reason | sentence }}</p>
{% if o.error %}
<div class="note error" role="note"><p><b>It could not be run to the end.</b> {{ o.error | sentence }}</p></div>
{% endif %}
{% for f in o.findings %}
<div class="note error" role="note">
<p><b>The pictures do not reach the network as they should.</b> {{ f.sentence | sentence }}</p>
<p class="soft small">On {{ f.pictures | counted("picture") }} it is {{ f.sqnr_as_is_db | decibels }} from the
reference, and {{ f.sqnr_explained_db | decibels }} from a reference that makes the same mistake.</p></div>
{% endfor %}
{% if not plotted %}
<p class="soft">{{ line }}</p>
{% elif facts %}
<dl class="facts">
{%- for name, value, more in facts %}
<div><dt>{{ name }}</dt><dd>{{ value }}{% if more %}<small>{{ more }}</small>{% endif %}</dd></div>
{%- endfor %}
</dl>
{% endif %}
{% if plotted and (halves or o.top1) %}
<div class="plots">
{% if o.top1 %}
{% set t = o.top1 %}
<div class="panel">
<p class="caption"><b>Who was right</b> The same {{ t.reference.pictures | counted("picture") }} through both.
What was lost and what was gained is the whole difference.</p>
<table class="matrix">
<thead><tr><td></td><th scope="col">artifact right</th><th scope="col">artifact wrong</th></tr></thead>
<tbody>
<tr><th scope="row">reference right</th>{{ cell(t.both_right, "both right") }}{{ cell(t.lost, "lost") }}</tr>
<tr><th scope="row">reference wrong</th>{{ cell(t.gained, "gained") }}{{ cell(t.both_wrong, "both wrong") }}</tr>
</tbody>
</table>
</div>
{% if not o.worst_classes %}
<div class="panel">
<p class="caption"><b>Classes that lost most</b> No class lost more pictures than it gained.</p>
</div>
{% endif %}
{% endif %}
{% for plot in halves %}{{ plot }}{% endfor %}
</div>
{% endif %}
{{ settling }}
"""


def section(accuracy: Accuracy) -> Html | None:
    """The figures and the plots, or the figures in a line where there is no room for more."""
    o, plotted = accuracy.outcome, accuracy.plotted
    settling = Html()
    if plotted and len(o.running) > 1:
        settling = figure(
            "How the change settles",
            "Top-1 change in percentage points as pictures are added, with its 95% interval.",
            partial(plots.running, o.running, o.verdict.allowed_drop),
        )
    halves = list(_halves(o)) if plotted else []
    line, facts = words.agreement(o), list(_facts(o))
    return render(TEMPLATE, o=o, plotted=plotted, line=line, facts=facts, halves=halves, settling=settling)


def _halves(o: ArtifactOutcome) -> Iterator[Html]:
    """The plots of half a page."""
    if o.worst_classes:
        changes = plots.class_changes(o.worst_classes[:CLASSES_SHOWN])
        yield figure("Classes that lost most", "Pictures lost and gained, net losers first.", changes)
    for output in o.outputs:
        caption = f"One picture each; cosine between the {output.name} of both."
        if turned := plots.cosine_histogram(output.cosine_histogram):
            yield figure("How far outputs turned", caption, turned)
    if o.answers and (moved := plots.confidence_histogram(o.answers.confidence_histogram)):
        yield figure("Change in confidence", "In the class that the reference puts first.", moved)


def _facts(o: ArtifactOutcome) -> Iterator[tuple[str, str, str]]:
    for paired in (o.top1, o.top5):
        if paired is not None:
            change = f"was {percent(paired.reference.value)}; {points(paired.delta)} {span(paired.interval)}"
            yield f"top-{paired.top}", percent(paired.artifact.value), change
    if o.answers is not None:
        flips = f"{count(o.top1.lost)} lost, {count(o.top1.gained)} gained" if o.top1 else "another class first"
        yield "flips", count(o.answers.flips), flips
    if o.top1 is not None:
        yield "McNemar", p_value(o.top1.p_value), "lost against gained"
    for output in o.outputs:
        of = f" of {output.name}" if len(o.outputs) > 1 else ""
        yield f"cosine{of}", cosine(output.cosine_mean), f"smallest {cosine(output.cosine_min)}"
        yield f"SQNR{of}", decibels(output.sqnr_db), f"largest error {small(output.max_error)}"
    if o.answers is not None:
        yield "KL divergence", small(o.answers.kl_mean), f"largest {small(o.answers.kl_max)} nats"
