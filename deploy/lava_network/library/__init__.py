"""Processes for any Lava network. They lie in a folder of their own, which Lava searches for their models."""
