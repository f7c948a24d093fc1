"""Find all objects of a text or of example boxes."""
