"""The advanced controls wired to session and binding: the one place that knows both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from psygnal import Signal, SignalInstance

from napari_sam3.core.errors import LayerError
from napari_sam3.core.operations import Policy
from napari_sam3.core.rendering import Rendering
from napari_sam3.layers.image_layers import images_in

from .settings import Settings, read_settings, watch, write_setting
from .text.panel import OWN_LAYER
from .text.states import describe_stage, describe_state, takes_prompts

if TYPE_CHECKING:
    from napari_sam3.core.classes import LabelClass
    from napari_sam3.layers.binding import Binding
    from napari_sam3.session.options import Mode
    from napari_sam3.session.session import LabelingSession

    from .controls import Items
    from .panel import Panel

__all__ = ["Options", "channel_items"]

MEGABYTE = 1_000_000
# Fields encoded ahead; more would keep an idle laptop busy.
LOOK_AHEAD = 12
LONGEST_CHANNEL_AXIS = 8
# Seconds.
WORTH_SHOWING, SHOWN_EVERY, WORTH_STOPPING = 0.5, 0.1, 2.0


class Options:
    """Connections of the panel's controls with the options of session and binding.

    Parameters
    ----------
    panel : Panel
        Its mode, candidates and fold.
    session : LabelingSession
        Gets policy, level, mode and category.
    binding : callable
        Returns the current binding, or None.
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
        self._session = session
        self._binding = binding
        self._guard = guard
        self._prompt_layers: dict[str, Any] = {}
        self._rendering: dict[str, Any] = {}
        self._contrast = ""
        self._waiting_since = self._shown_at = 0.0
        self._closed = False
        self.device = settings.device
        self.show_device("")
        self.show_channels(())
        self._advanced.show_value("device", self.device)
        self._advanced.unfold(settings.advanced_open)
        self._apply(settings)
        self._show_level(session.level)
        self._connect_controls()
        for signal, show in self._shown_options():
            signal.connect(show)
        panel.next_mask.clicked.connect(self._on_next_mask)
        panel.stop_work.clicked.connect(self._on_stop)
        session.progress_changed.connect(self._on_progress)
        self._stop_watching = watch(lambda: self._apply(read_settings()))

    def close(self) -> None:
        """Follow the Preferences and the session no longer."""
        self._closed = True
        self._stop_watching()
        for signal, show in self._shown_options():
            signal.disconnect(show)

    @property
    def prompt_layers(self) -> dict[str, Any]:
        """The user's layers for prompts: "points" and "boxes", where chosen."""
        return dict(self._prompt_layers)

    def forget_layers(self) -> None:
        """Go back to own layers for prompts, as for another image."""
        self._prompt_layers.clear()

    def show_device(self, text: str) -> None:
        """Say where the model runs, and why there; it may come after the window was closed."""
        if self._closed:
            return
        self._advanced.show_reason(text)
        self._advanced.offer("reason", bool(text))

    def show_channels(self, items: Items, current: tuple[Any, ...] = ()) -> None:
        """Offer the channels of the current image as (text, data); none hides the rows."""
        self._advanced.show_channels(items, current)

    def bound(self, binding: Binding) -> None:
        """Have a new binding see the image as it was chosen, and offer its channels."""
        self._rendering.pop("channels", None)
        self.show_channels(channel_items(binding))
        self._pass_classes()
        if self._rendering.get("contrast", "image") != "image":
            self._guard(lambda: binding.set_rendering(**self._rendering))
        binding.show_field(self._advanced.field_outline.isChecked())

    def add_classes(self, classes: Sequence[LabelClass]) -> None:
        """Offer classes besides those that there are, such as those of a saved session."""
        offered, options = self._panel.classes, self._session.options
        chosen = options.category, options.policy
        names = {one.name for one in offered.classes}
        new = tuple(one for one in classes if one.name not in names)
        if new:
            offered.show_classes((*offered.classes, *new))
            self._on_classes(offered.classes)
            # Settings that are written are taken at once.
            options.category, options.policy = chosen

    def refresh(self) -> None:
        """Show the present options."""
        session = self._session
        prediction = session.prediction
        self._panel.show_candidates(0 if prediction is None else len(prediction.candidates))
        self._show_mode(session.mode)
        self._show_numbers()

    def show_layers(self) -> None:
        """Offer the layers that can hold prompts."""
        fits = takes_prompts(self._binding())
        layers, advanced = self._prompt_layers, self._advanced
        advanced.points.show(layers.get("points", OWN_LAYER), fits)
        advanced.boxes.show(layers.get("boxes", OWN_LAYER), fits)

    # ------------------------------------------------------------------ inside

    def _apply(self, settings: Settings) -> None:
        """Do as the settings say; the device and the model wait for the next time."""
        self._session.cache.limit_bytes = settings.cache_limit_mb * MEGABYTE
        options = self._session.options
        options.look_ahead = LOOK_AHEAD if settings.prefetch else 0
        options.policy = cast(Policy, settings.policy)
        self._panel.show_keys(settings.keys)
        binding = self._binding()
        if binding is not None:
            binding.set_keys(settings.keys)
        self._show_policy(options.policy)
        self._advanced.show_value("journal", settings.journal)
        if settings.contrast != self._contrast:
            self._contrast = settings.contrast
            self._advanced.show_value("contrast", settings.contrast)
            self._render(contrast=settings.contrast)
        self._show_classes(settings.classes)

    def _show_classes(self, classes: tuple[LabelClass, ...]) -> None:
        self._panel.classes.show_classes(classes)
        self._session.options.category = self._panel.classes.current
        self._pass_classes()

    def _pass_classes(self) -> None:
        binding = self._binding()
        if binding is not None:
            colors = {one.name: one.color for one in self._panel.classes.classes}
            binding.set_classes(colors, show=self._advanced.class_colors.isChecked())

    def _show_numbers(self) -> None:
        """Show memory and thumbnail, but only while the fold is open."""
        if not self._advanced.isExpanded():
            return
        cache = self._session.cache
        self._advanced.show_memory(cache.nbytes, cache.limit_bytes, len(cache))
        binding = self._binding()
        thumbnail = binding.thumbnail() if binding is not None else None
        self._advanced.show_thumbnail(thumbnail)
        self._advanced.offer("thumbnail", thumbnail is not None)

    # ------------------------------------------------------------- user's choices

    def _connect_controls(self) -> None:
        """Let choices of the user set options of the session, or of the binding."""
        advanced = self._advanced
        advanced.policy_chosen.connect(self._on_policy)
        advanced.level_chosen.connect(self._on_level)
        self._panel.classes.chosen.connect(self._on_category)
        self._panel.classes.edited.connect(self._on_classes)
        self._panel.classes.refused.connect(self._on_refused)
        advanced.class_colors.toggled.connect(self._on_class_colors)
        advanced.device_chosen.connect(self._on_device)
        advanced.points_chosen.connect(partial(self._on_layer, "points"))
        advanced.boxes_chosen.connect(partial(self._on_layer, "boxes"))
        advanced.contrast_chosen.connect(self._on_contrast)
        advanced.channels_chosen.connect(self._on_channels)
        advanced.field_outline.toggled.connect(self._on_field_outline)
        advanced.journal.toggled.connect(partial(write_setting, "journal"))
        advanced.toggled.connect(self._on_toggled)
        self._panel.mode_chosen.connect(self._on_mode)

    def _shown_options(self) -> tuple[tuple[SignalInstance, Callable[[Any], None]], ...]:
        """Return the signal of each option of the session, and the function that shows it."""
        events = self._session.options.events
        return (
            (events.mode, self._show_mode),
            (events.policy, self._show_policy),
            (events.level, self._show_level),
            (events.category, self._show_category),
        )

    def _show_mode(self, mode: Mode) -> None:
        self._panel.show_mode(mode)

    def _show_policy(self, policy: Policy) -> None:
        self._advanced.show_value("policy", policy)

    def _show_level(self, level: int | None) -> None:
        self._advanced.show_value("level", level)

    def _show_category(self, name: str) -> None:
        classes = self._panel.classes
        if name != classes.current:
            self._panel.classes.show_classes(classes.classes, name)

    def _on_policy(self, policy: Policy) -> None:
        write_setting("policy", policy)
        self._session.options.policy = policy

    def _on_level(self, level: int | None) -> None:
        self._session.options.level = level
        if self._session.prompts.has_target:
            self._guard(self._session.predict)

    def _on_category(self, name: str) -> None:
        self._session.options.category = name

    def _on_refused(self, error: Exception) -> None:
        def fail() -> None:
            raise error

        self._guard(fail)

    def _on_classes(self, classes: tuple[LabelClass, ...]) -> None:
        write_setting("classes", classes)
        self._pass_classes()

    def _on_class_colors(self, _shown: bool) -> None:
        self._pass_classes()

    def _on_device(self, value: str) -> None:
        write_setting("device", value)
        self.device = value
        self.show_device("")
        self.device_chosen.emit(value)

    def _on_layer(self, name: Literal["points", "boxes"], value: Any) -> None:
        if value == OWN_LAYER:
            self._prompt_layers.pop(name, None)
        else:
            self._prompt_layers[name] = value
        self.layers_chosen.emit()

    def _on_contrast(self, value: str | Rendering) -> None:
        if not isinstance(value, Rendering):
            write_setting("contrast", value)
            self._contrast = value
            self._render(contrast=value)
            return
        binding = self._binding()
        items = dict(channel_items(binding)) if binding is not None else {}
        missing = [name for name in value.channels if name and name not in items]
        if missing:
            self._guard(partial(_refuse_channels, missing, tuple(items)))
            return
        channels = tuple(items[name] if name else None for name in value.channels)
        self.show_channels(tuple(items.items()), channels)
        self._rendering["contrast"] = value.limits
        self._on_channels(channels)

    def _on_field_outline(self, value: bool) -> None:
        binding = self._binding()
        if binding is not None:
            binding.show_field(value)

    def _on_channels(self, value: tuple[Any, ...]) -> None:
        from napari_sam3.layers.plane_source import ChannelChoice

        layers = {layer.unique_id: layer for layer in self._images()}
        choices = tuple(
            None if one is None else ChannelChoice(layers[one[0]], one[1], one[2]) for one in value
        )
        self._render(channels=choices if any(choices) else ())

    def _images(self) -> list[Any]:
        binding = self._binding()
        return images_in(binding.viewer) if binding is not None else []

    def _render(self, **changes: Any) -> None:
        self._rendering.update(changes)
        binding = self._binding()
        if binding is not None:
            self._guard(lambda: binding.set_rendering(**self._rendering))

    def _on_toggled(self, unfolded: bool) -> None:
        write_setting("advanced_open", unfolded)
        self.refresh()

    def _on_next_mask(self, _checked: bool = False) -> None:
        binding = self._binding()
        if binding is not None:
            self._guard(binding.next_candidate)

    def _on_stop(self, _checked: bool = False) -> None:
        self._panel.show_stop(False)
        self._session.cancel()

    def _on_progress(self, _stage: str, fraction: float | None, seconds_left: float | None) -> None:
        now = time.monotonic()
        if fraction is None:
            self._waiting_since = now
        # Painting progress slows down the work, so short work shows none.
        if now - self._waiting_since < WORTH_SHOWING or now - self._shown_at < SHOWN_EVERY:
            return
        self._shown_at = now
        long = now - self._waiting_since > WORTH_STOPPING or (seconds_left or 0) > WORTH_STOPPING
        self._panel.show_stop(long)
        if fraction is not None or seconds_left is not None:
            self._panel.show_progress(self._stage(), fraction, seconds_left)

    def _stage(self) -> str:
        """Return the stage to show; "" while the status line has other news."""
        binding, stage = self._binding(), describe_stage(self._session)
        said = stage if binding is None else describe_state(binding, self._session)[0]
        return stage if said == stage else ""

    def _on_mode(self, mode: Mode) -> None:
        self._session.options.mode = mode


def _refuse_channels(missing: list[str], there: tuple[str, ...]) -> None:
    raise LayerError(
        f"the image lacks channels that the stored fields were made with: {', '.join(missing)}. "
        f"Expected one of {', '.join(there) or 'no channels'}. Choose other stored fields."
    )


def channel_items(binding: Binding) -> list[tuple[str, tuple[Any, int | None, int]]]:
    """Return (text, (layer id, axis, position)) of the possible channels of an image.

    Other images of the same shape, and the positions along short axes of the image itself; nothing
    if there is only the image as it is.
    """
    from napari_sam3.layers.label_layer import image_shape
    from napari_sam3.layers.plane_source import ChannelChoice

    image = binding.image
    if image.rgb:
        return []
    shape = image_shape(image)
    items: list[tuple[str, tuple[Any, int | None, int]]] = [
        (layer.name, (layer.unique_id, None, 0))
        for layer in images_in(binding.viewer)
        if not layer.rgb and image_shape(layer) == shape
    ]
    axes = binding.plane.other_axes if binding.plane is not None else ()
    items += [
        (ChannelChoice(image, axis, position).name, (image.unique_id, axis, position))
        for axis in axes
        if shape[axis] <= LONGEST_CHANNEL_AXIS
        for position in range(shape[axis])
    ]
    return items if len(items) > 1 else []
