"""From spikes to operations, and from a network to the resources that a chip has to give it."""
