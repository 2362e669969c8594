"""What goes into a network: clips on disk, read as the frames that a graph takes."""
