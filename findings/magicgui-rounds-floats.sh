#!/usr/bin/env bash
# A magicgui form rounds every float to two decimals, defaults that nobody touched included.
#
# Guess:    a function with pixel_size: float = 0.1083333, called from its form, gets 0.1083333.
# Truth:    it gets 0.11; a threshold of 0.0004 becomes 0.0 and 1e-7 becomes 0.0. The value is rounded
#           when it is set, by code too, and in tuples and lists. The spin box of Qt keeps two decimals
#           unless a step with more is given. FloatSlider keeps six.
# Matters:  pixel sizes in micrometres and probabilities live in the third digit: an area computed with
#           0.11 for 0.1083333 is 3 % too large, and a small threshold accepts everything.
# Instead:  Annotated[float, {"step": 1e-6}] for such parameters, and a test that calls the form, not the
#           function.
# Seen:     magicgui 0.10.2, PyQt6 6.11.0, on 2026-11-28 (needs the system libraries of Qt, no display).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile magicgui==0.10.2 PyQt6==6.11.0
QT_QPA_PLATFORM=offscreen venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version
from typing import Annotated

from magicgui import magicgui, widgets

print("magicgui", version("magicgui"), "PyQt6", version("PyQt6"))


@magicgui
def measure(
    pixel_size: float = 0.1083333,
    threshold: float = 0.0004,
    scale: tuple[float, float] = (2.0, 0.1083333),
    fine: Annotated[float, {"step": 1e-7}] = 0.1083333,
):
    return pixel_size, threshold, scale, fine


print("the form calls with", measure())
assert measure() == (0.11, 0.0, (2.0, 0.11), 0.1083333)
measure.pixel_size.value = 0.1083333
assert measure.pixel_size.value == 0.11
slider = widgets.FloatSlider(value=0.1083333, max=1)
print("a slider holds", slider.value)
assert slider.value == 0.108333
PY
