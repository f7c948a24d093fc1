"""Training of the embedded model: scenes and real images, prompts, losses and the loop."""
