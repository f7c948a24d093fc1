"""Follow objects through frames: what is remembered of them, and one step after another."""
