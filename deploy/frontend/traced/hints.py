"""What works in place of operations that have no counterpart."""

NEURON_LIKE = "allowed between neurons: what is linear; a spiking neuron in its place, or register it (neurons=..)"
HINTS = {
    "softmax": "allowed: spiking attention without softmax, q (k^T v)",
    "layer_norm": "allowed: batch norm, whose statistics are fixed in evaluation mode",
    "group_norm": "allowed: batch norm, whose statistics are fixed in evaluation mode",
    "batch_norm": "allowed: batch norm with running statistics (track_running_stats=True), in evaluation mode",
    "upsample": "allowed: transposed or nearest resizing has no node; keep the size of the image",
    "constant_pad": "allowed: the same padding on all sides of an image",
    "argmax": "allowed: to return the outputs of the classes, and to take the largest outside of the model",
    **dict.fromkeys(("relu", "gelu", "sigmoid", "tanh", "silu", "clamp", "round", "exp", "pow", "where"), NEURON_LIKE),
}
MEMORY = (
    "its gates multiply real numbers, and its memory is none of spikes; allowed: spiking neurons between dense layers"
)
# Modules that are refused as a whole, by the names of their classes.
WHOLE = {
    **dict.fromkeys(("LSTM", "LSTMCell", "GRU", "GRUCell", "RNN", "RNNCell"), MEMORY),
    "MultiheadAttention": "attention with softmax; allowed: spiking attention without softmax, q (k^T v)",
}
OTHERS = "allowed: convolutions, dense layers, batch norms, pools, sums, products of spikes, reshapes, spiking neurons"


def hint(operation: str) -> str:
    """What to use in place of an operation, by its name."""
    return next((text for part, text in HINTS.items() if part in operation), OTHERS)
