"""The options of a session: one model, whoever sets it, and an event for each."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.session.drafts import DraftsChange
from napari_sam3.session.options import OptionSignals, SessionOptions
from napari_sam3.session.session import LabelingSession
from sam3.errors import ConfigError

NAMES = [one.name for one in fields(SessionOptions)]
OTHERS: dict[str, Any] = {
    "mode": "many",
    "policy": "inside",
    "level": 2,
    "category": "nucleus",
    "look_ahead": 3,
}


def test_each_option_has_a_signal_and_a_name_on_the_session() -> None:
    session = LabelingSession()
    assert list(OptionSignals.__annotations__) == NAMES
    for name in NAMES:
        assert getattr(session.options.events, name).name == name
        assert getattr(session, name) == getattr(SessionOptions(), name)


@pytest.mark.parametrize("name", NAMES)
def test_a_change_is_told_once_whoever_makes_it(name: str) -> None:
    session, told = LabelingSession(), list[Any]()
    getattr(session.options.events, name).connect(told.append)
    setattr(session, name, OTHERS[name])
    assert getattr(session.options, name) == OTHERS[name]
    setattr(session.options, name, OTHERS[name])
    assert told == [OTHERS[name]]
    setattr(session.options, name, getattr(SessionOptions(), name))
    assert getattr(session, name) == getattr(SessionOptions(), name)
    assert len(told) == 2


@pytest.mark.parametrize(("name", "value"), [("mode", "two"), ("policy", ""), ("policy", None)])
def test_an_unknown_choice_is_refused_and_changes_nothing(name: str, value: Any) -> None:
    session, told = LabelingSession(mode="many", policy="inside"), list[Any]()
    getattr(session.options.events, name).connect(told.append)
    for owner in (session, session.options):
        with pytest.raises(ConfigError, match=rf"unknown {name}: {value!r}\. Expected one of '"):
            setattr(owner, name, value)
    with pytest.raises(ConfigError, match=f"unknown {name}"):
        LabelingSession(**{name: value})
    assert (session.mode, session.policy, told) == ("many", "inside", [])


def test_a_change_of_drafts_says_which_they_were_and_are() -> None:
    session, changes = LabelingSession(), list[DraftsChange]()
    session.set_plane(plane_from_array(np.zeros((8, 9))), "z", np.zeros((8, 9), np.uint8))
    session.drafts_changed.connect(changes.append)
    first, second = PromptSet(((1, 2),), (1,)), PromptSet(((3, 4),), (1,))
    session.set_objects({1: first, 2: second})
    session.set_objects({1: first, 2: second.with_point(5, 5, 0)})
    session.set_objects({1: first, 2: second.with_point(5, 5, 0)}, current=1)
    session.undo()
    session.set_objects({2: second})
    assert [change.key for change in changes] == ["z"] * len(changes)
    assert [change.changed for change in changes] == [(1, 2), (2,), (), (2,), (1,)]
    gone = changes[-1].before.get(1)
    assert gone is not None
    assert gone.prompts == first
    assert [draft.prompts for draft in changes[-1].after.drafts] == [second]
    for earlier, later in pairwise(changes):
        assert later.before is earlier.after
