#!/usr/bin/env bash
# Create or refresh the virtual environment named by the first argument and install everything into it.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
if [ "${OS:-}" = Windows_NT ]; then python="$venv/Scripts/python"; else python="$venv/bin/python"; fi

# An environment whose interpreter is gone or was cut off half-way is made anew.
if ! "$python" -m pip --version >/dev/null 2>&1; then
  interpreter=$(bash scripts/find_python.sh)
  echo "Creating $venv with $("$interpreter" --version)"
  "$interpreter" -m venv --clear "$venv"
fi

echo "Installing napari-sam3 and what it needs (PyTorch is large; the first time takes minutes)"
"$python" -m pip install --quiet --disable-pip-version-check --editable ".[all,test,test-agpl,dev,docs]"
# A reader of tracks for the tests, in a folder of its own: it holds click below 8.2, and skan is a plugin of napari.
"$python" -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target "$venv/traccuracy" \
  "traccuracy>=0.4.3" "pylapy>=1.1" "skan>=0.13"
