"""A model on another machine, reached by Dask `distributed` over TLS.

``napari-sam3 serve`` runs `server`; `load.load_remote` returns a predictor for it. The server
encodes images and runs all long computations (`tasks`); the client decodes clicks.
"""
