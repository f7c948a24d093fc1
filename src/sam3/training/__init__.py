"""How the embedded model was made: made and real images, prompts, losses and the training loop."""
