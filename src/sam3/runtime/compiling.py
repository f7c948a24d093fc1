"""A folder of the user's for the code that torch.compile generates."""

from __future__ import annotations

import os

import platformdirs

__all__ = ["keep_compiled_code"]

_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def keep_compiled_code() -> str:
    """Let torch keep compiled code in the user's cache, before it compiles for the first time.

    torch's own choice is the folder for temporary files, which many systems empty when they start.

    Returns
    -------
    str
        The folder: that of the environment variable ``TORCHINDUCTOR_CACHE_DIR`` if it is set.
    """
    ours = platformdirs.user_cache_path("napari-sam3", appauthor=False) / "compiled"
    return os.environ.setdefault(_VARIABLE, str(ours))
