"""Training: the recipe of a run, its samples (augment, mixing, samples), its steps (trainer, distributed, loop)."""
