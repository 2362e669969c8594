"""Clips that are drawn instead of filmed: scenes, figures, event cameras, look-alikes of the official data sets."""
