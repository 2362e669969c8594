"""Tuning: weights and biases of a quantised network trained in the integers in which it is deployed."""
