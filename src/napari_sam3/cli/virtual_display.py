"""A virtual display for machines without one: an X server that draws into memory."""

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
# Qt must use X11 on it, even if the desktop uses Wayland.
X11_ONLY = {"QT_QPA_PLATFORM": "xcb", "XDG_SESSION_TYPE": "x11"}
OUTSIDE = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", *X11_ONLY)


class DisplayError(Sam3Error, RuntimeError):
    """There is no display, and none can be started."""


def has_display() -> bool:
    """Tell whether windows can be shown."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def virtual_display(width: int = 1600, height: int = 1000) -> Iterator[None]:
    """Run Xvfb as the display of this process; on other systems than Linux do nothing.

    Enter it before Qt is imported, since a process keeps the display of its first window.

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
            "there is no display, and Xvfb, a virtual one, is not installed. Expected a display "
            "or Xvfb. Install Xvfb (Debian, Ubuntu: apt-get install xvfb; or run 'make "
            "system-libs')."
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
    """Run the server with a screen of WIDTHxHEIGHTxDEPTH; yield the number of its display."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [program, "-displayfd", str(writing), "-screen", "0", screen, *QUIETLY],
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        os.close(writing)
        try:
            yield _display_number(reading, log)
        finally:
            os.close(reading)
            server.terminate()
            server.wait()


def _display_number(reading: int, log: IO[bytes]) -> int:
    """Wait for the server to print the number of its display, a free one that it chooses."""
    number = b""
    while not number.endswith(b"\n"):
        ready, _, _ = select.select([reading], [], [], START_SECONDS)
        chunk = os.read(reading, 64) if ready else b""
        if not chunk:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            raise DisplayError(
                f"Xvfb did not start ({lines[-1] if lines else 'without any message'}). Expected "
                "a virtual display. Try it by hand: Xvfb :99."
            )
        number += chunk
    return int(number)
