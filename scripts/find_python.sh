#!/usr/bin/env bash
# Print the first usable interpreter: version 3.11 or newer, able to make a virtual environment.
# PYTHON=/path/to/python overrides the search.
set -euo pipefail

candidates=(python3 python3.13 python3.12 python3.11 python3.14 python)
if [ -n "${PYTHON:-}" ]; then
  candidates=("$PYTHON")
fi

seen=()
for candidate in "${candidates[@]}"; do
  command -v "$candidate" >/dev/null 2>&1 || continue
  # A shim of a version manager may exist without an interpreter behind it.
  version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
  if ! "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    seen+=("$candidate is $version")
  elif ! "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
    seen+=("$candidate is $version but cannot make environments: apt-get install python$version-venv")
  else
    echo "$candidate"
    exit 0
  fi
done

{
  echo "error: no usable Python found; napari-sam3 needs Python 3.11 or newer with its venv module."
  for line in ${seen[@]+"${seen[@]}"}; do echo "  $line"; done
  echo "Install one (Debian 12, Ubuntu 24.04: apt-get install python3 python3-venv)"
  echo "or name one: make PYTHON=/path/to/python3.11 venv"
} >&2
exit 1
