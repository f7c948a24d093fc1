"""Download of the released weights, where somebody asks for it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sam3.errors import DownloadError

__all__ = ["Progress", "download_released_weights"]

INSTEAD = 'Or point checkpoint_path to a weights file, or use preset="tiny".'
Progress = Callable[[int, int | None], None]

_REPOSITORY, _FILE = "facebook/sam3", "sam3.pt"


def download_released_weights(
    *,
    endpoint: str | None = None,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    instead: str = INSTEAD,
) -> Path:
    """Fetch ``sam3.pt`` from Hugging Face into its cache, with progress.

    A connection that breaks is taken up again where it broke.

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
        With what to do: no token, no access, no connection, no room.
    """
    # Imported here: it is slow, and needed by those alone who ask for a download.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(
            hf_hub_download(
                _REPOSITORY,
                _FILE,
                endpoint=endpoint,
                cache_dir=cache_dir,
                tqdm_class=None if progress is None else _reporting(progress),
            )
        )
    except GatedRepoError as error:
        status = error.response.status_code if error.response is not None else None
        if status == 401:
            message = (
                f"the weights of {_REPOSITORY} are gated and you are not logged in.\n"
                f"Request access at huggingface.co/{_REPOSITORY}, then log in: hf auth login.\n"
            )
        else:
            message = (
                f"your account has no access to the gated weights of {_REPOSITORY} yet.\n"
                f"Request it at huggingface.co/{_REPOSITORY} and wait until it is granted.\n"
            )
        raise DownloadError(message + instead) from error
    except RepositoryNotFoundError as error:
        raise DownloadError(
            f"huggingface.co did not show {_REPOSITORY} to you: you are not logged in, or your "
            f"token is not valid.\nLog in again: hf auth login.\n{instead}"
        ) from error
    except (LocalEntryNotFoundError, ConnectionError) as error:
        raise DownloadError(
            f"the weights of {_REPOSITORY} are not on this computer and huggingface.co cannot be "
            f"reached.\nCheck the connection (and HF_HUB_OFFLINE), then try again.\n{instead}"
        ) from error
    except HfHubHTTPError as error:
        raise DownloadError(
            f"huggingface.co answered with an error: {error}.\nTry again later.\n{instead}"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"the disk is full: {error}.\nThe weights take 3.5 GB; make room or set HF_HOME to "
                f"another disk.\n{instead}"
            ) from error
        raise DownloadError(
            f"the weights of {_REPOSITORY} could not be downloaded: {error}.\nCheck the connection "
            f"and the folder named by HF_HOME, then try again.\n{instead}"
        ) from error


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
