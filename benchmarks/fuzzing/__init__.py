"""Inputs that nobody meant to write, of every kind that the commands read (benchmarks/fuzz.py)."""
