"""A model card says what files are, and of what was measured only what is about these very bytes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import benchmark_sample as sample
import pytest
from small_classifier import Exported

from edgecvx.manifest import Manifest, read_manifest
from edgecvx.report.forms.card import card, card_name
from edgecvx.report.join import Report, join
from edgecvx.results.accuracy import Validation
from edgecvx.results.identity import identity_of


@pytest.fixture
def artifacts(small_classifier: Exported) -> dict[Path, Manifest]:
    return {small_classifier.path: read_manifest(small_classifier.path)}


def measured(artifacts: dict[Path, Manifest]) -> Report:
    """The sample's results, of which the first file's are taken for those of these bytes."""
    (ours,) = (identity_of(path, manifest, None).sha256 for path, manifest in artifacts.items())
    theirs = sample.laptop().measured[0].identity.sha256

    def moved(value: object) -> object:
        identity = dataclasses.replace(value.identity, sha256=ours)  # type: ignore[attr-defined]
        return dataclasses.replace(value, identity=identity)  # type: ignore[type-var]

    bench = sample.laptop()
    found = [moved(m) if m.identity.sha256 == theirs else m for m in bench.measured]
    validation: Validation = sample.validation()
    outcomes = [moved(o) if o.identity.sha256 == theirs else o for o in validation.artifacts]
    return join(
        [dataclasses.replace(validation, artifacts=tuple(outcomes))],  # type: ignore[arg-type]
        [sample.benchmark(dataclasses.replace(bench, measured=tuple(found)))],  # type: ignore[arg-type]
    )


def test_a_card_holds_the_licence_the_hashes_and_how_it_was_made(artifacts: dict[Path, Manifest]) -> None:
    (manifest,) = artifacts.values()
    text = card(artifacts)
    assert text.startswith('---\nlicense: "')
    assert all(entry.sha256 in text for entry in manifest.files)
    assert manifest.model.weights.sha256 in text
    assert "Nothing was measured of these files" in text
    assert card_name(artifacts).endswith(".card.md")


def test_it_holds_what_was_measured_of_these_bytes_with_intervals(artifacts: dict[Path, Manifest]) -> None:
    text = card(artifacts, measured(artifacts))
    assert "95% interval" in text
    assert "| artifact |" in text
    assert text.count(": top-1 ") == 1, "of one file, and of no other in those results"


def test_figures_of_other_bytes_are_left_out(artifacts: dict[Path, Manifest]) -> None:
    other = join([sample.validation()], [sample.benchmark(sample.laptop())])
    assert other.rows, "there is something to leave out"
    assert "Nothing was measured of these files" in card(artifacts, other)


def test_a_name_in_a_manifest_says_nothing_but_itself(artifacts: dict[Path, Manifest]) -> None:
    ((path, manifest),) = artifacts.items()
    weights = dataclasses.replace(
        manifest.model.weights, ref="[a](http://x.invalid) | `b`", license='x"\nbase_model: y'
    )
    hostile = dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, weights=weights))
    text = card({path: hostile})
    assert "[a](http" not in text
    assert "\nbase_model: y" not in text


@pytest.mark.parametrize(
    ("licence", "header"),
    [
        ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
        (None, {"license": "unknown"}),
        ("ours: all\n---", {"license": "other", "license_name": "ours: all\n---"}),
    ],
)
def test_hubs_read_its_header_whatever_the_licence_is_called(
    artifacts: dict[Path, Manifest], licence: str | None, header: dict[str, str]
) -> None:
    yaml = pytest.importorskip("yaml")
    ((path, manifest),) = artifacts.items()
    weights = dataclasses.replace(manifest.model.weights, license=licence)
    text = card({path: dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, weights=weights))})
    found = yaml.safe_load(text.split("\n---\n")[0])
    assert {key: value for key, value in found.items() if key.startswith("license")} == header
