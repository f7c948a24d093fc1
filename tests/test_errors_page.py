"""The page of errors says what the errors say."""

from __future__ import annotations

import re

import pytest
import torch

from sam3.errors import Sam3Error
from scripts.error_causes import CAUSES, Cause
from scripts.errors_page import PAGE, _message, error_classes, page

TEXT = PAGE.read_text(encoding="utf-8")
#: Which nobody can cause here, and why.
NOT_CAUSED = {
    "DemoError": "needs a viewer whose canvas is covered",
    "TrainingError": "takes a training, see tests/sam3/test_training.py",
}


def every_error() -> set[type[Sam3Error]]:
    """Return all classes that are loaded, found another way than by the script."""
    assert list(error_classes())
    found, todo = set(), [Sam3Error]
    while todo:
        new = todo.pop().__subclasses__()
        found |= set(new)
        todo += new
    return {one for one in found if one.__module__.split(".")[0] in ("sam3", "napari_sam3")}


@pytest.mark.skipif(torch.cuda.is_available(), reason="the page was written on a CPU alone")
def test_the_page_is_up_to_date() -> None:
    assert page() == TEXT, "run: python -m scripts.errors_page"


def test_every_error_is_on_the_page() -> None:
    titles = re.findall(r"^## (\w+)$", TEXT, re.MULTILINE)
    public = {one.__name__ for one in every_error() if not one.__name__.startswith("_")}
    assert public <= set(titles)
    assert len(titles) == len(set(titles)) >= 22
    assert set(CAUSES) | set(NOT_CAUSED) >= public, "no example"


def test_every_message_says_what_to_do() -> None:
    rows = re.findall(r"^\| (?!You|---)(.+) \| (.+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == sum(map(len, CAUSES.values()))
    for what, message in rows:
        assert re.search(r"[;.:,(] ?", message), f"{what}: {message}"
        assert len(message) > 40, f"{what}: {message}"
        assert "/tmp" not in message


def test_a_cause_that_causes_nothing_is_an_error() -> None:
    with pytest.raises(AssertionError, match="to sing raised no Sam3Error"):
        _message(Sam3Error, Cause("sing", lambda: None))
