"""Entry point of ``python -m napari_sam3.cli``."""

from .main import main

raise SystemExit(main())
