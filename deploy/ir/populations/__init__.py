"""Populations: what receives currents and sends messages. One file a kind, its real and its integer form inside.

`Receiver` and `IntReceiver` (base.py) say what every population but the input answers: how it runs, which registers it
fills, what it becomes in integers, what a chip makes of it. A neuron's equation stands in `step` of its `Running`.
"""
