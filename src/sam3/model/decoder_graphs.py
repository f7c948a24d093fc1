"""The decoder as CUDA graphs: recorded once for each shape, then replayed for any image.

A click is some hundred kernels of a few microseconds each; launching them one by one takes longer
than they do. A graph is launched at once, but reads and writes the same memory each time:

::

    prompts ---copy--> static prompts ----+
                                          +--> replay --> static masks --copy--> masks
    image side --copy, once an image--> static side
"""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

from sam3.model.click_model import ClickModel
from sam3.model.fixed_shapes import PaddedPrompts, decode_padded
from sam3.model.mask_decoder import ImageSide, RawMasks
from sam3.runtime.cuda_graphs import CudaGraphs, cannot_be_recorded

__all__ = ["Capture", "DecoderGraphs"]

_LOG = logging.getLogger(__name__)
_MOST_GRAPHS = 16  # each keeps its masks, 32 MB for 32 objects of the full-size model

Decode = Callable[[], RawMasks]
Capture = Callable[[Decode], tuple[Callable[[], object], RawMasks]]
"""Records a call: returns what repeats it, and the result that each repetition overwrites."""


class _Graph(NamedTuple):
    prompts: PaddedPrompts
    replay: Callable[[], object]
    masks: RawMasks


class DecoderGraphs:
    """Decode padded prompts by graphs, or as usual on a device that cannot record them.

    Parameters
    ----------
    model : ClickModel
        On its device.
    capture : callable, optional
        By default that of :class:`sam3.runtime.cuda_graphs.CudaGraphs`.
    """

    def __init__(self, model: ClickModel, capture: Capture | None = None) -> None:
        self._model = model
        device = model.no_memory_embed.device
        self._capture: Capture | None = capture or CudaGraphs(device).capture
        self._graphs: OrderedDict[tuple[object, ...], _Graph] = OrderedDict()
        self._side: ImageSide | None = None
        self._copied: weakref.ref[Tensor] | None = None
        self._state: object = None
        self._lock = Lock()

    def __call__(self, side: ImageSide, prompts: PaddedPrompts, multimask: bool | None) -> RawMasks:
        """Decode; see :meth:`sam3.model.click_model.ClickModel.decode`."""
        with self._lock:
            if self._capture is not None:
                try:
                    return self._replay(self._capture, side, prompts, multimask)
                except RuntimeError as error:
                    if not cannot_be_recorded(error):
                        raise
                    _LOG.warning("decoding without CUDA graphs from now on: %s", error)
                    self._capture = self._side = None
                    self._graphs.clear()
        return decode_padded(self._model, side, prompts, multimask)

    def _replay(
        self, capture: Capture, side: ImageSide, prompts: PaddedPrompts, multimask: bool | None
    ) -> RawMasks:
        static = self._static(side)
        key = (prompts.labels.shape, prompts.mask is None, multimask)
        graph = self._graphs.get(key)
        if graph is None:
            device = static.image.device
            given = PaddedPrompts(
                *(None if x is None else x.to(device, copy=True) for x in prompts)  # type: ignore[arg-type]
            )
            replay, masks = capture(lambda: decode_padded(self._model, static, given, multimask))
            graph = self._graphs[key] = _Graph(given, replay, masks)
            if len(self._graphs) > _MOST_GRAPHS:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        for old, new in zip(graph.prompts, prompts, strict=True):
            if old is not None and new is not None:
                old.copy_(new)
        graph.replay()
        return RawMasks(*(None if x is None else x.clone() for x in graph.masks))  # type: ignore[arg-type]

    def _static(self, side: ImageSide) -> ImageSide:
        """Return the image side that graphs read, with the contents of the given one."""
        if self._side is not None and self._copied is not None and self._copied() is side.image:
            return self._side
        tensors = _tensors(side)
        weights = [w.data_ptr() for w in self._model.parameters()]
        state = [(x.shape, x.dtype) for x in tensors], _autocast(side.image), weights
        if self._side is None or state != self._state:
            self._graphs.clear()  # they read other memory, or compute in another precision
            self._side, self._state = _cloned(side), state
        else:
            for old, new in zip(_tensors(self._side), tensors, strict=True):
                old.copy_(new)
        self._copied = weakref.ref(side.image)
        return self._side


def _tensors(side: ImageSide) -> list[Tensor]:
    parts = [*side[:4], side.plain, *(side.projections or ())]
    return [part for part in parts if part is not None]


def _cloned(side: ImageSide) -> ImageSide:
    inner = side.projections
    return ImageSide(
        side.image.clone(),
        side.positions.clone(),
        side.middle.clone(),
        side.fine.clone(),
        None if side.plain is None else side.plain.clone(),
        None if inner is None else type(inner)(*(x.clone() for x in inner)),
    )


def _autocast(tensor: Tensor) -> object:
    kind = tensor.device.type
    return torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind)
