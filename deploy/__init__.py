"""From a trained network to what a chip would do with it: export, lower, quantise, simulate, report."""
