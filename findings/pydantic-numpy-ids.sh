#!/usr/bin/env bash
# A large NumPy label id passes a pydantic "int" field and comes out as another number.
#
# Guess:    an `int` field takes np.int64(9007199254740993) and keeps it, as int() does.
# Truth:    the field returns 9007199254740992, without a warning. A NumPy integer is not a Python int, so
#           pydantic takes its value as a float, which holds whole numbers exactly only up to 2**53. The
#           same number as a Python int is kept. A uint64 above 2**63 raises, but for small ids all is
#           well, so tests with ids 1, 2, 3 never see it.
# Matters:  ids made from hashes, or packed as (frame, object), are this large. Two objects become one in
#           every record, table or sidecar file that goes through such a model.
# Instead:  hand over int(label) or array.tolist(), or declare the field strict: that refuses NumPy
#           integers of every size, at the first test.
# Seen:     pydantic 2.14.4, numpy 2.4.6, Python 3.11, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile pydantic==2.14.4 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import pydantic

print("pydantic", pydantic.VERSION, "numpy", np.__version__)


class Record(pydantic.BaseModel):
    label: int


class StrictRecord(pydantic.BaseModel, strict=True):
    label: int


small, large = np.int64(7), np.int64(2**53 + 1)
for label in (small, large, int(large)):
    print(f"{type(label).__name__:6} {int(label)} -> {Record(label=label).label}")
assert Record(label=small).label == 7
assert Record(label=int(large)).label == 2**53 + 1
assert Record(label=large).label == 2**53

# Two objects, one number.
assert Record(label=large).label == Record(label=np.int64(2**53)).label

for label in (small, large):
    try:
        StrictRecord(label=label)
        raise SystemExit("a strict field took a NumPy integer")
    except pydantic.ValidationError as error:
        print("strict:", error.errors()[0]["msg"])
PY
