"""The options of a session as one model that tells of every change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

from psygnal import SignalGroupDescriptor, SignalInstance

from napari_sam3.core.operations import Policy
from sam3.errors import ConfigError

__all__ = ["Mode", "OptionSignals", "SessionOptions"]

Mode = Literal["one", "many"]

_CHOICES = {"mode": get_args(Mode), "policy": get_args(Policy)}


class OptionSignals(Protocol):
    """One signal for each option, emitted with its new value after it changed."""

    mode: SignalInstance
    policy: SignalInstance
    level: SignalInstance
    category: SignalInstance
    look_ahead: SignalInstance


@dataclass
class SessionOptions:
    """What a user chooses about labelling; scripts, panel and settings set it alike.

    Parameters
    ----------
    mode : {"one", "many"}
        Whether there is one object not yet accepted at a time, or as many as there are boxes and
        foreground clicks.
    policy : {"keep", "overwrite", "inside"}
        Whether pixels of other labels are left alone or taken over on accepting, or only
        background inside the drawn box or outline is written.
    level : int, optional
        Pyramid level of fields, where it is not to follow prompts and object size.
    category : str
        Class of the objects accepted from now on; empty for none.
    look_ahead : int
        Fields of a plane to encode before they are asked for, when there is nothing else to do.

    Attributes
    ----------
    events : OptionSignals
        Tell of each option that changed, so that ``options.events.policy.connect(...)`` is told.

    Raises
    ------
    sam3.errors.ConfigError
        If a mode or policy is set that there is not; the option stays as it was.
    """

    # A group of psygnal has any attribute for mypy; these are the ones that it has.
    if TYPE_CHECKING:
        events: ClassVar[OptionSignals]
    else:
        events: ClassVar = SignalGroupDescriptor()

    mode: Mode = "one"
    policy: Policy = "keep"
    level: int | None = None
    category: str = ""
    look_ahead: int = 0

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what is no choice."""
        choices = _CHOICES.get(name)
        if choices is not None and value not in choices:
            raise ConfigError(
                f"no such {name}: {value!r}. Expected one of {', '.join(map(repr, choices))}"
            )
        super().__setattr__(name, value)
