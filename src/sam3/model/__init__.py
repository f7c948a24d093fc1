"""The parts of SAM 3 that a click needs, as plain torch modules."""
