"""A screen for machines that have none: an X server that draws into memory."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

from sam3.errors import Sam3Error

__all__ = ["DisplayError", "has_display", "virtual_display"]

logger = logging.getLogger(__name__)

START_SECONDS = 20.0
QUIETLY = ("-nolisten", "tcp", "-noreset")
# Qt must use X11 there, also where the desktop uses Wayland.
X11_ONLY = {"QT_QPA_PLATFORM": "xcb", "XDG_SESSION_TYPE": "x11"}
OUTSIDE = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", *X11_ONLY)


class DisplayError(Sam3Error, RuntimeError):
    """No screen to draw on, and none can be made."""


def has_display() -> bool:
    """Whether windows can be shown here."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def virtual_display(width: int = 1600, height: int = 1000) -> Iterator[None]:
    """Run Xvfb and let this process draw on it; elsewhere than on Linux do nothing.

    To be entered before Qt is imported; processes keep the screen on which their first window
    opened.

    Parameters
    ----------
    width, height : int
        Size of the screen in px.

    Raises
    ------
    DisplayError
        If Xvfb is missing or does not start.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    program = shutil.which("Xvfb")
    if program is None:
        raise DisplayError(
            "there is no display, and Xvfb, which would stand in for one, is not installed; "
            "install it (Debian, Ubuntu: apt-get install xvfb; or run 'make system-libs')"
        )
    outside = {name: os.environ.get(name) for name in OUTSIDE}
    with _xvfb(program, f"{width}x{height}x24") as number:
        for name in OUTSIDE:
            os.environ.pop(name, None)
        os.environ.update(X11_ONLY, DISPLAY=f":{number}")
        logger.info("drawing on the virtual display %s", os.environ["DISPLAY"])
        try:
            yield
        finally:
            for name, value in outside.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


@contextlib.contextmanager
def _xvfb(program: str, screen: str) -> Iterator[int]:
    """Run the server with a screen of WIDTHxHEIGHTxDEPTH; yields the number of its display."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen(
            [program, "-displayfd", str(writing), "-screen", "0", screen, *QUIETLY],
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        os.close(writing)
        try:
            yield _display_number(reading, said)
        finally:
            os.close(reading)
            server.terminate()
            server.wait()


def _display_number(reading: int, said: IO[bytes]) -> int:
    """Wait for the server to say on which display it listens; it finds a free one itself."""
    number = b""
    while not number.endswith(b"\n"):
        ready, _, _ = select.select([reading], [], [], START_SECONDS)
        chunk = os.read(reading, 64) if ready else b""
        if not chunk:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise DisplayError(
                f"Xvfb did not start ({lines[-1] if lines else 'it said nothing'}); try it by "
                "hand: Xvfb :99"
            )
        number += chunk
    return int(number)
