"""Real commands, struck at random moments (benchmarks/faults.py)."""
