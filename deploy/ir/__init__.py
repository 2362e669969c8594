"""What a network is, at each level, and what it computes: the plain NumPy interpreters here are the judges.

NIR graph (graph.py, interpreter.py) -> lowered network (network.py) -> integer network (integer.py).
"""
