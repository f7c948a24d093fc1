"""Detection of all objects that match a text or example boxes."""
