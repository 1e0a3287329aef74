"""The sections of a page, one file each.

A section is a module with a ``TITLE`` and ``section(part) -> Html | None``: what it shows of a part of the report, None
where there is nothing to show. A new one is a file here and a line in ``edgecvx.report.forms.page.SECTIONS``.
"""
