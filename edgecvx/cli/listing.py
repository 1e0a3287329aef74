"""``edgecvx models``, ``targets`` and ``doctor``: what there is, and what of it is here."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from edgecvx.cli import show
from edgecvx.spec import to_json


def models(as_json: show.AsJson = False) -> None:
    """List the variants and the published weights for each, with their licences."""
    from edgecvx.models.variants import TAGS, VARIANTS

    if as_json:
        show.json_object({"variants": to_json(VARIANTS), "tags": to_json(TAGS)})
        return
    table = Table("model", "classes", "size", "crop", "licence", **show.PLAIN)
    for name, tag in TAGS.items():
        size = f"{tag.preprocess.size}" + (f" ({tag.test_size})" if tag.test_size else "")
        style = "yellow" if "-nc" in tag.license else ""
        table.add_row(
            name,
            str(tag.num_classes or "—"),
            size,
            f"{tag.preprocess.crop_pct:g}",
            f"[{style}]{tag.license}[/]" if style else tag.license,
        )
    show.out.print(table)
    show.out.print("size: the training size (and the size these weights score best at)", style="dim")
    show.out.print("cc-by-nc-4.0 forbids commercial use", style="dim")


def targets(as_json: show.AsJson = False) -> None:
    """List the targets: what they write, for which runtime, and whether that runtime is here."""
    from edgecvx.runtimes import availability
    from edgecvx.targets import all_targets

    rows = [(t, availability(t.format.runtime)) for t in all_targets()]
    if as_json:
        show.json_object({"targets": [{**t.as_json(), "runtime_version": found.version} for t, found in rows]})
        return
    table = Table("target", "writes", "precisions", "runtime", "threads", "runs on", **show.PLAIN)
    for t, found in rows:
        here = found.version or f"[yellow]missing: pip install 'edgecvx\\[{t.format.extra}]'[/]"
        if found.version is None and t.format.proved_in:
            here = f"[yellow]on the device[/], checked in {t.format.proved_in}"
        threads = "—" if t.threads is None else str(t.threads)
        precisions = " ".join(p.value for p in t.precisions)
        table.add_row(t.name, t.format.suffix, precisions, f"{t.format.runtime} {here}", threads, t.note)
    show.out.print(table)


def doctor(as_json: show.AsJson = False, cluster: show.ClusterOption = None) -> None:
    """Look at this machine: which runtimes and tools are here, which versions, and how to get what is missing.

    With --cluster, look at its workers instead: where they are, their processors, and whether they fit together.
    """
    from edgecvx.inspection.doctor import diagnose

    if cluster is not None:
        _workers(cluster, as_json)
        return
    diagnosis = diagnose()
    if as_json:
        show.json_object(to_json(diagnosis))
        return
    facts = Table(show_header=False, **show.PLAIN)
    for key, value in diagnosis.machine.items():
        facts.add_row(key, escape(value))
    show.out.print(facts)
    table = Table("", "name", "version", "purpose", "to get it", **show.PLAIN)
    for finding in (*diagnosis.runtimes, *diagnosis.tools):
        mark = "[green]✓[/]" if finding.version else "[yellow]–[/]"
        table.add_row(mark, finding.name, escape(finding.version or ""), finding.purpose, escape(finding.hint))
    show.out.print(table)


def _workers(address: str, as_json: bool) -> None:
    """Who works on a cluster; what keeps them from working together is an error, as it would be for a validation."""
    from edgecvx.cluster.connect import connect

    with connect(address) as cluster:
        workers, warnings = cluster.workers, (*cluster.differences, *cluster.warnings)
    if as_json:
        show.json_object({"address": address, "workers": to_json(workers), "warnings": list(warnings)})
        return
    show.warnings(warnings)
    table = Table("worker", "host", "processor", "class", "started again", **show.PLAIN)
    for facts in workers:
        again = "yes" if facts.nanny else "[yellow]no: start it with --nanny[/]"
        table.add_row(escape(facts.worker), escape(facts.host), escape(facts.name), escape(facts.processor), again)
    show.out.print(table)
    versions = ", ".join(f"{name} {version}" for name, version in workers[0].versions.items())
    show.out.print(f"on all of them: {versions}", style="dim", markup=False)
