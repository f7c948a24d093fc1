"""The options of a session, as an evented dataclass."""

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
    """Options of labelling, set by scripts, the panel and settings.

    Parameters
    ----------
    mode : {"one", "many"}
        One draft at a time, or one per box and foreground click.
    policy : {"keep", "overwrite", "inside"}
        Whether accepting keeps or overwrites pixels of other labels, or writes only to background
        inside the drawn box or outline.
    level : int, optional
        Pinned pyramid level of fields; by default it follows prompts and object size.
    category : str
        Class of the next accepted objects; empty for none.
    look_ahead : int
        Number of fields of a plane to encode ahead of time.

    Attributes
    ----------
    events : OptionSignals
        One signal per option, as in ``options.events.policy.connect(...)``.

    Raises
    ------
    sam3.errors.ConfigError
        If a mode or policy is unknown; the option is unchanged.
    """

    # To mypy, a psygnal group has any attribute; these are the real ones.
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
        """Set an option, or raise ConfigError for an unknown choice."""
        choices = _CHOICES.get(name)
        if choices is not None and value not in choices:
            raise ConfigError(
                f"unknown {name}: {value!r}. Expected one of {', '.join(map(repr, choices))}. "
                "Choose one."
            )
        super().__setattr__(name, value)
