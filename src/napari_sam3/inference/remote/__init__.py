"""A model on another machine, reached by Dask `distributed` over TLS.

``napari-sam3 serve`` runs `server`; `load.load_remote` gives a predictor for it. Images are encoded
there, and all that takes long runs there (`tasks`); clicks are decoded on this machine.
"""
