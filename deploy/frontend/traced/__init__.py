"""Any spiking PyTorch model to a NIR graph, through the graph that `torch.export` traces.

Neurons are one opaque operation each (`trace.py`); everything else is core ATen, with one rule for each operation
(`rules/`). A value of the traced graph is a `Signal`: the output of a NIR node, and which axes of it every dimension of
the tensor runs over (`axes.py`, `signals.py`). So reshapes and permutations cost nothing, and only what computes
becomes a node.
"""
