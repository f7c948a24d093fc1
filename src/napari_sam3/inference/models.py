"""Models by name, loaded once on first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from sam3.errors import ConfigError

from .model_server import server_of
from .remote.address import is_remote

if TYPE_CHECKING:
    from sam3.concepts.detector import Detector
    from sam3.predictor import Predictor

__all__ = ["EMBEDDED", "Loader", "ModelHandle", "describe_predictor", "detector_loader"]
__all__ += ["load_predictor", "model_loader", "names_objects"]

Loader = Callable[[], "Predictor"]
EMBEDDED = "tiny"


def load_predictor(
    name_or_path: str | os.PathLike[str] = EMBEDDED,
    device: str = "auto",
    *,
    fixed_shapes: bool = False,
) -> Predictor:
    """Load a model, or connect to one on another machine.

    Parameters
    ----------
    name_or_path : str or path
        As for :func:`sam3.load_predictor`, or the address of a server: ``tls://HOST:PORT``, with
        ``?key=FILE`` unless the key is in its usual place.
    device : str
        "auto", "cpu", "cuda" or "mps"; with a server, the local device for decoding prompts.
    fixed_shapes : bool
        Pad prompts to few shapes, which are replayed as graphs on CUDA.

    Raises
    ------
    sam3.errors.Sam3Error
        If the model is unknown, or the server cannot be reached.
    """
    if is_remote(name_or_path):
        from .remote.load import load_remote

        predictor = load_remote(name_or_path, device)
        if fixed_shapes:
            predictor.fix_shapes()
        return predictor
    from sam3.predictor import load_predictor as load

    return load(name_or_path, device, fixed_shapes=fixed_shapes)


def model_loader(
    name_or_path: str | os.PathLike[str] = EMBEDDED,
    device: str = "auto",
    describe: Callable[[str], None] | None = None,
) -> Loader:
    """Return a function that loads a model; torch is imported only when it is called.

    Parameters
    ----------
    name_or_path : str or path
        As for :func:`load_predictor`.
    device : str
        "auto", "cpu", "cuda" or "mps".
    describe : callable, optional
        Called with a description of the device, on the thread that loads the model.
    """

    def load() -> Predictor:
        predictor = load_predictor(name_or_path, device)
        if describe is not None:
            describe(describe_predictor(predictor))
        return predictor

    return load


def detector_loader() -> Callable[[Predictor], Detector | None]:
    """Return a function that loads, once, the concept detector of a predictor's own weights.

    It returns None for weights without one; of an adapter, those of its base count.
    """
    made: dict[str, Detector | None] = {}

    def load(predictor: Predictor) -> Detector | None:
        if predictor.fingerprint not in made:
            made[predictor.fingerprint] = _load_detector(predictor)
        return made[predictor.fingerprint]

    return load


def _load_detector(predictor: Predictor) -> Detector | None:
    from sam3.concepts.detector import Detector
    from sam3.weights.detector import holds_detector, load_detector_model

    if (server := server_of(predictor)) is not None:
        return cast("Detector | None", server.detector)  # a placeholder for calls on the server
    path = predictor.weights
    if path is None or not holds_detector(path):
        return None
    model = load_detector_model(path, resolution=predictor.config.resolution)
    return Detector(model, predictor)


def names_objects(path: str | os.PathLike[str]) -> bool:
    """Tell whether weights, the base of an adapter, or a server's model find objects by name.

    Raises
    ------
    sam3.errors.Sam3Error
        If there is no such file or server.
    """
    if path == EMBEDDED:
        return False
    if is_remote(path):
        from .remote.load import serves_detector

        return serves_detector(path)
    from sam3.adapters import find_base, is_adapter, read_adapter
    from sam3.weights.detector import holds_detector

    return holds_detector(find_base(read_adapter(path), path) if is_adapter(path) else path)


def describe_predictor(model: Predictor | Loader) -> str:
    """Describe the device of a model; "" if it is not loaded."""
    predictor = ModelHandle.of(model).predictor
    if predictor is None:
        return ""
    if (server := server_of(predictor)) is not None:
        return server.place
    from sam3.runtime.devices import describe_device

    return describe_device(predictor.device)


class ModelHandle:
    """A model that is loaded once, on first use, on any thread.

    Parameters
    ----------
    load : callable, optional
        Loads the model.
    predictor : Predictor, optional
        The model, if already loaded.
    source : (str, str), optional
        Name and device by which another process can load it; see `ModelHandle.of`.
    """

    def __init__(
        self,
        load: Loader | None = None,
        predictor: Predictor | None = None,
        source: tuple[str, str] | None = None,
    ) -> None:
        self._load, self._predictor, self._source = load, predictor, source
        self._lock = threading.Lock()

    @classmethod
    def of(cls, model: Any, device: str = "auto") -> ModelHandle:
        """Return the handle of a name or weights file, a predictor, or a function that loads one.

        A named model is loaded once per process.

        Raises
        ------
        sam3.errors.ConfigError
            If it is none of these.
        """
        if isinstance(model, ModelHandle):
            return model
        if isinstance(model, str | os.PathLike):
            return _named(os.fspath(model), device)
        if hasattr(model, "predict"):  # without importing torch, which Predictor needs
            return cls(predictor=model)
        if callable(model):
            return cls(model)
        raise ConfigError(
            f"not a model: {model!r}. Expected a name, a weights file, a predictor, or a function "
            "that loads one. Pass one of these."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the name; each process loads the model itself."""
        if self._source is None:
            raise TypeError(
                "a model without a name cannot be sent to another process. Expected a name or a "
                "weights file. Give one of them."
            )
        return _named, self._source

    @property
    def predictor(self) -> Predictor | None:
        """The model, if it is loaded."""
        return self._predictor

    @property
    def is_portable(self) -> bool:
        """Whether another process can load it."""
        return self._source is not None

    def __call__(self) -> Predictor:
        """Return the model, loaded if necessary; raises Sam3Error."""
        with self._lock:
            if self._predictor is None:
                assert self._load is not None
                self._predictor = self._load()
            return self._predictor

    def describe(self) -> dict[str, Any]:
        """Load the model, and return all properties that results depend on, as plain values."""
        from .cache import ENCODING_VERSION

        predictor = self()
        return {
            "preset": predictor.config.name,
            "fingerprint": predictor.fingerprint,
            "resolution": predictor.config.resolution,
            "precision": str(predictor.dtype).removeprefix("torch."),
            "encoding": ENCODING_VERSION,
        }


@cache
def _named(name: str, device: str) -> ModelHandle:
    return ModelHandle(model_loader(name, device), source=(name, device))
