"""The calls of the public SAM 3 notebooks: images, clicks, concepts and videos."""
