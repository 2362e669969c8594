"""Training: what a run is (recipe), what it sees (augment, mixing, samples), and how it goes (trainer, distributed)."""
