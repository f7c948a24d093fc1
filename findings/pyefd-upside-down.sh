#!/usr/bin/env bash
# pyefd's normalized descriptors of one outline have two forms, depending on where the outline begins.
#
# Guess:    with normalize=True the elliptic Fourier descriptors do not depend on size, rotation and first point; those of a cell
#           and of the same cell turned by 180 degrees are equal.
# Truth:    for about half of the first points, or turned by 180 degrees, the signs of harmonics are flipped: the first one is
#           (-1, 0, 0, -b) instead of (1, 0, 0, b). An outline that begins elsewhere flips the odd harmonics, the turned outline
#           flips all. The first point comes from the tracing of the mask, so it is the top-left pixel.
# Matters:  descriptors are compared, averaged and clustered. The same shape appears as two clusters, by the way it happens to lie
#           in the image; the distance between the two is 2, more than between most shapes. An average of them is no shape.
# Instead:  multiply the odd harmonics by the sign of the first coefficient, the even ones by the sign of one of theirs.
# Seen:     pyefd 1.8.0 with numpy 2.4.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile pyefd==1.8.0 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
from pyefd import elliptic_fourier_descriptors

print("pyefd", version("pyefd"), "numpy", np.__version__)
angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
outline = np.stack([40 * np.cos(angle) + 5 * np.cos(2 * angle), 20 * np.sin(angle) + 3 * np.cos(3 * angle)], axis=1)


def described(points):
    closed = np.vstack([points, points[:1]])
    return elliptic_fourier_descriptors(closed, order=4, normalize=True)


def turned(points, degrees):
    a = np.deg2rad(degrees)
    return points @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def show(text, values):
    print(text, "first harmonic", (values[0].round(3) + 0).tolist(), "second", (values[1].round(3) + 0).tolist())


base = described(outline)
show("as it is:", base)
assert np.allclose(base, described(outline * 3 + 100))
assert np.isclose(abs(base[0, 0]), 1)

elsewhere = [described(np.roll(outline, -first, axis=0)) for first in range(0, 240, 10)]
flipped = sum(values[0, 0] * base[0, 0] < 0 for values in elsewhere)
print("of", len(elsewhere), "first points", flipped, "flip the sign")
other = next(values for values in elsewhere if values[0, 0] * base[0, 0] < 0)
show("begun elsewhere:", other)
assert 6 <= flipped <= 18
assert np.allclose(other[::2], -base[::2], atol=1e-3) and np.allclose(other[1::2], base[1::2], atol=1e-3)

around = described(turned(outline, 180))
show("turned by 180 degrees:", around)
assert np.allclose(around, -base)
PY
