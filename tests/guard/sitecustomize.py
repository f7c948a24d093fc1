"""Imported by Python at its start, where this folder is on PYTHONPATH: see network_guard."""

import network_guard  # type: ignore[import-not-found]  # beside this file

network_guard.install()
