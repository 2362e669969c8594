"""Measurements of trained networks on clips: accuracy, spikes, membranes, agreement with another network."""
