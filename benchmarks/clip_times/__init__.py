"""What a clip costs: networks at the published rates, the executions that are timed, limits of the machine, pictures.

`lava_clip.py`, `layer_times.py`, `growth.py`, `parity.py` and `full_geometry.py` are made of it.
"""
