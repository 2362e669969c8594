"""What a network does with a clip, drawn with matplotlib: one palette, arrays of pixels, plots, animations."""
