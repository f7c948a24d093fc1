"""Download of the released weights, where somebody asks for it."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sam3.errors import DownloadError

__all__ = ["Progress", "download_released_weights"]

INSTEAD = 'Or point checkpoint_path to a weights file, or use preset="tiny".'
Progress = Callable[[int, int | None], None]

_SHA256 = re.compile("[0-9a-f]{64}")
_REPOSITORY, _FILE = "facebook/sam3", "sam3.pt"


def download_released_weights(
    *,
    endpoint: str | None = None,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    instead: str = INSTEAD,
) -> Path:
    """Fetch ``sam3.pt`` from Hugging Face into its cache, with progress.

    A connection that breaks is taken up again where it broke. The file gets its name once it has
    the size that was announced and, where the server announces one, the SHA-256.

    Parameters
    ----------
    endpoint : str, optional
        Another server, such as a mirror.
    cache_dir : path-like, optional
        Another folder than Hugging Face's cache.
    progress : callable, optional
        Called with the bytes there and the bytes of the whole file (None while it is not known),
        on a thread of the download, instead of a bar in the terminal. A `Sam3Error` that it raises
        ends the download; what is there already is kept for the next one.
    instead : str
        What else can be done, as the last line of every refusal.

    Returns
    -------
    Path
        The file; it is not fetched again while it is in the cache.

    Raises
    ------
    DownloadError
        With what to do: no token, no access, no connection, no room, another content.
    """
    # Imported here: it is slow, and needed by those alone who ask for a download.
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    try:
        known = try_to_load_from_cache(_REPOSITORY, _FILE, cache_dir=cache_dir)
        with _no_telemetry():
            path = Path(
                hf_hub_download(
                    _REPOSITORY,
                    _FILE,
                    endpoint=endpoint,
                    cache_dir=cache_dir,
                    tqdm_class=None if progress is None else _reporting(progress),
                )
            )
        if str(path) != known:  # an hour's download is worth ten seconds
            _check_hash(path)
        return path
    except DownloadError:
        raise
    except (HfHubHTTPError, OSError) as error:
        raise DownloadError(f"{_explain(error)}\n{instead}") from error


def _explain(error: Exception) -> str:
    """Say why there was no download, and what to do about it."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        if error.response is not None and error.response.status_code == 401:
            return (
                f"the weights of {_REPOSITORY} are gated and you are not logged in.\n"
                f"Request access at huggingface.co/{_REPOSITORY}, then log in: hf auth login."
            )
        return (
            f"your account has no access to the gated weights of {_REPOSITORY} yet.\n"
            f"Request it at huggingface.co/{_REPOSITORY} and wait until it is granted."
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"huggingface.co did not show {_REPOSITORY} to you: you are not logged in, or your "
            "token is not valid.\nLog in again: hf auth login."
        )
    if isinstance(error, LocalEntryNotFoundError | ConnectionError):
        return (
            f"the weights of {_REPOSITORY} are not on this computer and huggingface.co cannot be "
            "reached.\nCheck the connection (and HF_HUB_OFFLINE), then try again."
        )
    if isinstance(error, HfHubHTTPError):
        return f"huggingface.co answered with an error: {error}.\nTry again later."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: {error}.\nThe weights take 3.5 GB; make room or set HF_HOME to "
            "another disk."
        )
    return (
        f"the weights of {_REPOSITORY} could not be downloaded: {error}.\nCheck the connection "
        "and the folder named by HF_HOME, then try again."
    )


def _check_hash(path: Path) -> None:
    """Delete a file that does not have the hash that it is kept under; raises DownloadError."""
    content = path.resolve()  # the cache names what it holds by the server's tag
    if not _SHA256.fullmatch(content.name):
        return
    with content.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != content.name:
        path.unlink(missing_ok=True)
        content.unlink(missing_ok=True)
        raise DownloadError(
            f"what was downloaded is not {_FILE} (SHA-256 {found[:16]}..., expected "
            f"{content.name[:16]}...) and was deleted.\nTry again, or over another connection."
        )


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Have Hugging Face's client tell nothing of this computer, and ask its own server nothing.

    It would describe the installed packages, and fetch a list of programs from huggingface.co,
    even where the file comes from a mirror. Its switch is read from the environment when it is
    imported, which may have happened long before.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before


def _reporting(progress: Progress) -> Any:
    """Return a class that looks like tqdm to Hugging Face's client, and shows nothing."""
    import huggingface_hub.utils as hub

    bars: list[object] = []

    base: Any = hub.tqdm  # type: ignore[attr-defined]

    class Report(base):  # type: ignore[misc]
        """Hands numbers on. Of several bars the first counts the file, the others the wire."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Disabled: a bar in the terminal would fail where there is none, as on Windows.
            super().__init__(*args, **{**kwargs, "disable": True})
            # A disabled bar does not keep these by itself.
            self.total, self.n = kwargs.get("total"), kwargs.get("initial") or 0
            bars.append(self)
            self.update(0)

        def update(self, n: float | None = 1) -> None:
            self.n += int(n or 0)
            if self is bars[0]:
                progress(self.n, None if self.total is None else int(self.total))

    return Report
