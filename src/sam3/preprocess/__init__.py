"""Images as the model takes them."""
