"""Find all objects of a plane without prompts."""
