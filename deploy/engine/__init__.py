"""Fast exact execution, a time step at a time: what the Lava blocks run. Nothing here knows of Lava."""
