"""Devices, cores and precision."""
