"""Clips that are drawn instead of filmed: scenes, figures, an event camera, look-alikes of the official data sets."""
