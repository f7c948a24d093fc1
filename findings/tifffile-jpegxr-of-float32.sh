#!/usr/bin/env bash
# tifffile's JPEG XR is lossless for integers and for float16, and changes float32: label 16405 becomes 16406.
#
# Guess:    compression="jpegxr" keeps every value, or none: it gave uint8, uint16 and float16 back to the bit. float32 has
#           24 bits for the digits of a number, so label ids up to 16 million come back.
# Truth:    of float32 only 14 bits are kept, silently. Odd ids above 16384 become their even neighbours, so two objects
#           become one, and of numbers around 0.001 nearly none is kept.
# Matters:  ImageJ and Python save labels as float32 by themselves, and probabilities, distances and ratios are float32.
#           A test with uint16, or with a few hundred objects, sees nothing.
# Instead:  zstd or deflate, which keep every value; or labels as integers.
# Seen:     tifffile 2026.3.3, imagecodecs 2026.3.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import tifffile


def changed(values, codec):
    tifffile.imwrite("a.tif", values, compression=codec)
    return tifffile.imread("a.tif") != values


rng = np.random.default_rng(0)
ids = np.arange(20_000).reshape(100, 200)
images = {
    "uint8": rng.integers(0, 256, (100, 200)).astype(np.uint8),
    "uint16": ids.astype(np.uint16),
    "float16": rng.random((100, 200)).astype(np.float16),
    "float32 ids": ids.astype(np.float32),
    "float32 ratios": (rng.standard_normal((100, 200)) / 1000).astype(np.float32),
}
for codec in ("zstd", "jpegxr"):
    share = {name: float(changed(values, codec).mean()) for name, values in images.items()}
    print(codec, {name: round(value, 3) for name, value in share.items()})
    exact = [name for name, value in share.items() if value == 0]
    assert exact == [name for name in images if codec != "jpegxr" or not name.startswith("float32")]
wrong = ids[changed(images["float32 ids"], "jpegxr")]
read = tifffile.imread("a.tif")
print("first id changed: {} to {:.0f}".format(wrong[0], read[ids == wrong[0]][0]))
assert wrong[0] == 16385
assert (wrong % 2).all()
np.testing.assert_array_equal(read[ids == 16405], 16406)
PY
