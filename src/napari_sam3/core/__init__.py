"""Planes, masks, prompts, fields, drafts, objects and operations as plain data.

Imports numpy and `sam3.errors` only.
"""
