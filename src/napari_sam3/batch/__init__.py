"""Whole stacks, series and slides: the same question asked of many planes, and kept on disk."""
