"""Pictures of clips, spikes, membranes and attention with matplotlib: one palette, pixels, plots, animations."""
