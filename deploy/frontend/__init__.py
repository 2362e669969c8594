"""Ways in: an SVFormer becomes a NIR graph (from_svformer.py), a NIR graph becomes a network (from_nir.py)."""
