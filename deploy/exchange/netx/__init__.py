"""lava-dl's network files (`.net`): HDF5 with groups `layer/0`, `layer/1`, .., as slayer exports and netx reads them.

`content` takes the values out of a file, `layers` makes populations and connections of them, `reading` a network.
"""
