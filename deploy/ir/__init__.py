"""What a network is, at each level, and what it computes: the plain NumPy interpreters here are the judges.

NIR graph (graph.py reads it, canonical.py gives it one form; loops.py, shapes.py, kernels.py and neurons.py say what
its nodes mean, interpreter.py executes it) -> lowered network (network.py) -> integer network (integer.py).
"""
