"""Any array or file as the 8-bit RGB plane that the model sees.

Imports `core`.
"""
