"""Download of the released weights on request."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sam3.errors import DownloadError, Sam3Error

__all__ = ["Progress", "download_released_weights"]

INSTEAD = 'Or point checkpoint_path to a weights file, or use preset="tiny".'
Progress = Callable[[int, int | None], None]

_SHA256 = re.compile("[0-9a-f]{64}")
_REPOSITORY, _FILE = "facebook/sam3", "sam3.pt"
_ACCESS = (
    f"Expected a granted request.\nRequest access at huggingface.co/{_REPOSITORY}, and wait until "
    "it is granted; a fine-grained token needs the right to read gated repositories."
)


def download_released_weights(
    *,
    endpoint: str | None = None,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    instead: str = INSTEAD,
) -> Path:
    """Download ``sam3.pt`` from Hugging Face into its cache, with progress.

    A connection that breaks is resumed for a while; a later call begins again. The file gets its
    final name only after a check of its announced size and, if the server announces one, its
    SHA-256.

    Parameters
    ----------
    endpoint : str, optional
        Another server, for example a mirror.
    cache_dir : path-like, optional
        Another folder instead of Hugging Face's cache.
    progress : callable, optional
        Called on a download thread with the bytes downloaded and the size of the file (None while
        unknown), instead of a progress bar in the terminal. A `Sam3Error` that it raises cancels
        the download.
    instead : str
        Alternatives for the user, appended as the last line of every error.

    Returns
    -------
    Path
        The file; it is downloaded only once.

    Raises
    ------
    DownloadError
        If there is no token, access, connection or disk space, or the content is wrong.
    """
    # Imported here because it is slow and only downloads need it.
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(_REPOSITORY, _FILE, cache_dir=cache_dir)
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
        if str(path) != cached:  # ten seconds, after a download of an hour
            _check_hash(path)
        return path
    except Sam3Error:
        raise
    except Exception as error:  # of the client, its HTTP library, a proxy or a token
        raise DownloadError(f"{_explain(error)}\n{instead}") from error


def _explain(error: Exception) -> str:
    """Explain why the download failed, and name the remedy."""
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        if error.response is not None and error.response.status_code == 401:
            return (
                f"the weights of {_REPOSITORY} are gated. Expected a login.\n"
                f"Request access at huggingface.co/{_REPOSITORY}, then log in: hf auth login."
            )
        return f"your account has no access to the gated weights of {_REPOSITORY} yet. {_ACCESS}"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"huggingface.co does not show {_REPOSITORY} to you. Expected a login with a valid "
            "token.\nLog in again: hf auth login."
        )
    status = _status_in(error)
    if status is not None and status >= 400:
        return _explain_status(status)
    if isinstance(error, LocalEntryNotFoundError | ConnectionError):
        return (
            f"the weights of {_REPOSITORY} are not on this computer and huggingface.co cannot be "
            "reached. Expected a local copy or a connection.\nCheck the connection, also for a "
            "proxy or login page of your network, and HF_HUB_OFFLINE, then try again."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: {error}. Expected 3.5 GB for the weights.\nMake room, or set "
            "HF_HOME to another disk."
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return (
        f"the weights of {_REPOSITORY} could not be downloaded: {reason}. Expected a connection "
        "that lasts, a token of plain letters and a writable folder.\nCheck the connection, its "
        "proxy, the token (hf auth login) and the folder named by HF_HOME, then try again."
    )


def _explain_status(status: int) -> str:
    """Explain the status of an answer, and name the remedy."""
    if status == 401:
        return (
            "huggingface.co does not accept your token. Expected a valid one.\nLog in again: hf "
            "auth login, and remove the variable HF_TOKEN if it is set."
        )
    if status == 403:
        return f"huggingface.co refuses the weights of {_REPOSITORY} to your account. {_ACCESS}"
    if status == 429:
        return (
            "huggingface.co refuses more requests for now. Expected fewer from this network.\nWait "
            "for some minutes, then try again."
        )
    return (
        f"huggingface.co answered with an error: {status}. Expected a file.\nTry again later, or "
        "check the variable HF_ENDPOINT if it is set."
    )


def _status_in(error: BaseException | None) -> int | None:
    """Return the HTTP status of an error, or of the errors that caused it."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return int(status)
        error = error.__cause__ or error.__context__
    return None


def _check_hash(path: Path) -> None:
    """Delete a file whose hash differs from its name in the cache, and raise DownloadError."""
    content = path.resolve()  # the cache names its files by the server's tag
    if not _SHA256.fullmatch(content.name):
        return
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != content.name:
        path.unlink(missing_ok=True)
        content.unlink(missing_ok=True)
        raise DownloadError(
            f"the downloaded file was deleted: its SHA-256 is {digest[:16]}.... Expected "
            f"{content.name[:16]}... for {_FILE}.\nTry again, or use another connection."
        )


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Disable the telemetry of Hugging Face's client.

    It would send the list of installed packages, and fetch a list of programs from huggingface.co
    even if the file comes from a mirror. The environment variable for this is read on import of
    the client, which may have happened before.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before


def _reporting(progress: Progress) -> Any:
    """Return a subclass of tqdm for Hugging Face's client that calls `progress` silently."""
    import huggingface_hub.utils as hub

    bars: list[object] = []

    base: Any = hub.tqdm  # type: ignore[attr-defined]

    class Report(base):  # type: ignore[misc]
        """Forwards the count of the first bar, the file; others count bytes on the network."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Disabled, because a bar fails without a terminal, as on Windows.
            super().__init__(*args, **{**kwargs, "disable": True})
            # A disabled bar does not set these attributes.
            self.total, self.n = kwargs.get("total"), kwargs.get("initial") or 0
            bars.append(self)
            self.update(0)

        def update(self, n: float | None = 1) -> None:
            self.n += int(n or 0)
            if self is bars[0]:
                progress(self.n, None if self.total is None else int(self.total))

    return Report
