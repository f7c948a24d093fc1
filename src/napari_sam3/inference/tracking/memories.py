"""Memory of a model, loaded from its weights once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_sam3.inference.model_server import server_of

if TYPE_CHECKING:
    from sam3.model.memory import Memory
    from sam3.predictor import Predictor

__all__ = ["has_memory", "memory_of"]

_known: WeakKeyDictionary[Predictor, Memory] = WeakKeyDictionary()
_lock = threading.Lock()


def has_memory(predictor: Predictor) -> bool:
    """Whether objects are propagated with memory, of this process or of a server.

    Not where the model has one that it does not prefer to masks alone, as the embedded model.
    """
    memory = predictor.config.memory
    has_weights = predictor.weights is not None or server_of(predictor) is not None
    return memory is not None and memory.preferred and has_weights


def memory_of(predictor: Predictor) -> Memory | None:
    """Return the memory with which a model propagates objects, from its weights.

    None if it has none or prefers masks alone, and for that of a server, which keeps its memory.

    Raises
    ------
    sam3.errors.CheckpointError
        If the weights file can no longer be read.
    """
    path = predictor.weights
    if path is None or not has_memory(predictor):
        return None
    with _lock:
        if predictor not in _known:
            from sam3.weights.memory import load_memory

            _known[predictor] = load_memory(path, config=predictor.config)
        return _known[predictor]
