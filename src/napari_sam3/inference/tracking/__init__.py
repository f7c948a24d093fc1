"""Propagation of objects from plane to plane."""
