"""Files around the code say what is true: metadata, citation, changelog, workflow."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import sam3

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKE, re.MULTILINE))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["version"] == sam3.__version__ == str(load(ROOT / "CITATION.cff")["version"])


def test_the_citation_has_what_its_format_asks_for() -> None:
    """The format: github.com/citation-file-format, version 1.2.0."""
    citation = load(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "license"} <= set(citation)
    assert citation["type"] == "software"
    assert citation["license"] == PROJECT["license"]
    for work in (citation, *citation["references"]):
        assert work["authors"]
        for author in work["authors"]:
            person = {"family-names", "given-names", "orcid", "affiliation"}
            assert set(author) <= person or set(author) <= {"name", "website"}, author
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)


def test_the_changelog_keeps_its_format() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    parts = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert parts <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_metadata_is_what_the_napari_hub_shows() -> None:
    assert "Framework :: napari" in PROJECT["classifiers"]
    assert len(PROJECT["description"]) < 130
    assert {"napari", "segmentation", "microscopy"} <= set(PROJECT["keywords"])
    for version in ("3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_what_there_is(path: Path) -> None:
    jobs = load(path)["jobs"]
    for name, job in jobs.items():
        assert job["timeout-minutes"] <= 60, name
        assert set(job.get("needs", [])) <= set(jobs)
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
            assert re.search(r"@v\d", step.get("uses", "x@v1")), "an action without a version"
            run = step.get("run", "")
            assert set(re.findall(r"\bmake ([a-z-]+)", run)) <= TARGETS
            for file in re.findall(r"\b(?:scripts|tests|examples)/[\w./-]+", run):
                assert (ROOT / file).exists(), file
            for extras in re.findall(r"\.\[([\w,]+)\]", run):
                assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_workflow_covers_systems_pythons_and_both_qts() -> None:
    jobs = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    minimum = PROJECT["requires-python"].removeprefix(">=")
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    assert matrix["python"][0] == minimum
    assert {one["qt"] for one in [*matrix["include"], {"qt": matrix["qt"][0]}]} == {
        "pyqt6",
        "pyside6",
    }
    commands = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    everything = "\n".join(commands)
    for part in ("lowest-direct", "make docs", "tests/test_wheel.py", "make test", "make demo"):
        assert part in everything, part


def test_the_lowest_versions_are_given() -> None:
    for one in PROJECT["dependencies"]:
        assert ">=" in one, f"{one} has no lowest version"
