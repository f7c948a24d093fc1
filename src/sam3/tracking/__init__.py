"""Propagation of objects through frames, step by step, and the memories of them."""
