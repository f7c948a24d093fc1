"""The advanced controls wired to session and binding: the one place that knows both.

What a session or binding does not have (yet) is not offered: see `Options._offered`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast, get_args

from psygnal import Signal

from .advanced import OWN_LAYER
from .classes import LabelClass
from .controls import Items
from .edits import Policy
from .panel import Panel
from .settings import Settings, read_settings, watch, write_setting
from .widget_text import describe_stage, takes_prompts

if TYPE_CHECKING:
    from .binding import Binding
    from .session import LabelingSession

__all__ = ["Options"]

MEGABYTE = 1_000_000
REMEMBERED = {"policy", "contrast", "device", "classes", "journal"}


class Options:
    """Takes what the user chose to where it belongs, and shows what is so.

    Parameters
    ----------
    panel : Panel
        Its mode, candidates and fold.
    session : LabelingSession
        Gets policy, level, mode and category.
    binding : callable
        Returns the binding there is now, or None.
    guard : callable
        Runs a function, and reports errors a user can cause.
    settings : Settings
        What it was the last time. Changes made in the Preferences are followed.

    Attributes
    ----------
    device : str
        The device chosen.
    device_chosen : Signal
        (str) The model has to be loaded again, on another device.
    layers_chosen : Signal
        The image has to be bound again, with `prompt_layers`.
    """

    device_chosen = Signal(str)
    layers_chosen = Signal()

    def __init__(
        self,
        panel: Panel,
        session: LabelingSession,
        binding: Callable[[], Binding | None],
        guard: Callable[[Callable[[], Any]], Any],
        settings: Settings,
    ) -> None:
        self._panel, self._advanced = panel, panel.advanced
        # Any: some of it is asked for by hasattr, in `_offered`.
        self._session = cast(Any, session)
        self._binding: Callable[[], Any] = binding
        self._guard = guard
        self._prompt_layers: dict[str, Any] = {}
        self._rendering: dict[str, Any] = {}
        self._seen: Any = None
        self.device = settings.device
        self._offer()
        self._advanced.show_value("device", self.device)
        self._advanced.show_value("level", session.level)
        self._advanced.unfold(settings.advanced_open)
        self._take(settings)
        self._advanced.changed.connect(self._on_changed)
        self._advanced.toggled.connect(self._on_toggled)
        panel.next_mask.clicked.connect(self._on_next_mask)
        panel.mode_chosen.connect(self._on_mode)
        if hasattr(session, "progress_changed"):
            session.progress_changed.connect(self._on_progress)
        self._stop_watching = watch(lambda: self._take(read_settings()))

    def close(self) -> None:
        """Follow the Preferences no longer."""
        self._stop_watching()

    @property
    def prompt_layers(self) -> dict[str, Any]:
        """The user's layers for prompts: "points" and "boxes", where chosen."""
        return dict(self._prompt_layers)

    def forget_layers(self) -> None:
        """Go back to own layers for prompts, as for another image."""
        self._prompt_layers.clear()

    def show_device(self, text: str) -> None:
        """Say where the model runs, and why there."""
        self._advanced.show_reason(text)
        self._advanced.offer("reason", bool(text))

    def show_channels(self, items: Items, current: tuple[Any, ...] = ()) -> None:
        """Offer the channels of the image in hand as (text, data); none hides the rows."""
        self._rendering["channels"] = current or None
        self._advanced.show_channels(items, current)

    def refresh(self) -> None:
        """Show what is so now."""
        session, binding = self._session, self._binding()
        prediction = session.prediction
        if prediction is None:
            self._panel.show_candidates(0, 0, 0.0)
        else:
            count = len(prediction.candidates)
            self._panel.show_candidates(prediction.index, count, prediction.score)
        self._panel.show_mode(getattr(session, "mode", None))
        fits = takes_prompts(binding)
        for name in ("points", "boxes"):
            chosen = self._prompt_layers.get(name, OWN_LAYER)
            getattr(self._advanced, name).show(chosen, fits)
        self._show_numbers()

    # ------------------------------------------------------------------ inside

    def _take(self, settings: Settings) -> None:
        """Do as the settings say; the device and the model wait for the next time."""
        self._session.cache.limit_bytes = settings.cache_limit_mb * MEGABYTE
        if settings.policy in get_args(Policy):
            self._session.policy = settings.policy
        self._advanced.show_value("policy", self._session.policy)
        for name in ("contrast", "journal"):
            self._advanced.show_value(name, getattr(settings, name))
        if settings.contrast != self._rendering.get("contrast"):
            self._render(contrast=settings.contrast)
        self._show_classes(settings.classes)

    def _offered(self, name: str) -> bool:
        """Whether a control has something to act on."""
        has = {
            "category": hasattr(self._session, "category"),
            "contrast": hasattr(self._binding() or _binding_type(), "set_rendering"),
            "journal": hasattr(self._session, "journal"),
        }
        return has.get(name, True)

    def _offer(self) -> None:
        for name in ("category", "contrast", "journal"):
            self._advanced.offer(name, self._offered(name))
        self._advanced.offer_items("policy", get_args(Policy))
        self._panel.show_mode(getattr(self._session, "mode", None))
        self.show_device("")
        self.show_channels(())

    def _show_classes(self, classes: tuple[LabelClass, ...]) -> None:
        self._advanced.show_classes(classes)
        if self._offered("category"):
            self._session.category = self._advanced.classes.current

    def _show_numbers(self) -> None:
        """Memory and thumbnail: not worth the time while nobody sees them."""
        if not self._advanced.isExpanded():
            return
        session, cache = self._session, self._session.cache
        self._advanced.show_memory(cache.nbytes, cache.limit_bytes, len(cache))
        seen = (session.plane_key, id(session.pixels))
        if seen != self._seen:
            self._seen = seen
            self._advanced.show_thumbnail(self._thumbnail())
            self._advanced.offer("thumbnail", session.pixels is not None)

    def _thumbnail(self) -> Any:
        binding = self._binding()
        if hasattr(binding, "thumbnail"):
            return binding.thumbnail()
        return self._session.pixels

    # ------------------------------------------------------------- user's choices

    def _on_changed(self, name: str, value: Any) -> None:
        if name in REMEMBERED:
            write_setting(name, value)
        getattr(self, f"_set_{name}", lambda value: None)(value)

    def _set_policy(self, value: str) -> None:
        self._session.policy = value

    def _set_level(self, value: int | None) -> None:
        self._session.level = value
        if self._session.prompts.has_target:
            self._guard(self._session.predict)

    def _set_category(self, value: str) -> None:
        if self._offered("category"):
            self._session.category = value

    def _set_device(self, value: str) -> None:
        self.device = value
        self.show_device("")
        self.device_chosen.emit(value)

    def _set_points(self, value: Any) -> None:
        self._set_layer("points", value)

    def _set_boxes(self, value: Any) -> None:
        self._set_layer("boxes", value)

    def _set_layer(self, name: str, value: Any) -> None:
        if value == OWN_LAYER:
            self._prompt_layers.pop(name, None)
        else:
            self._prompt_layers[name] = value
        self.layers_chosen.emit()

    def _set_contrast(self, value: str) -> None:
        self._render(contrast=value)

    def _set_channels(self, value: tuple[Any, ...]) -> None:
        self._render(channels=value)

    def _render(self, **changes: Any) -> None:
        self._rendering.update(changes)
        binding = self._binding()
        if hasattr(binding, "set_rendering"):
            self._guard(lambda: binding.set_rendering(**self._rendering))

    def _on_toggled(self, unfolded: bool) -> None:
        write_setting("advanced_open", unfolded)
        self.refresh()

    def _on_next_mask(self, _checked: bool = False) -> None:
        binding, prediction = self._binding(), self._session.prediction
        if hasattr(binding, "next_candidate"):
            self._guard(binding.next_candidate)
        elif prediction is not None:
            following = (prediction.index + 1) % len(prediction.candidates)
            self._guard(lambda: self._session.choose(following))

    def _on_progress(self, _stage: str, fraction: float | None, seconds_left: float | None) -> None:
        if fraction is not None or seconds_left is not None:
            text = describe_stage(self._session)
            self._panel.show_progress(text, fraction, seconds_left)

    def _on_mode(self, mode: str) -> None:
        if hasattr(self._session, "mode"):
            self._session.mode = mode


def _binding_type() -> type[Binding]:
    from .binding import Binding

    return Binding
