"""How many operations the recorded messages cause. No joule in this file.

Every count is exact and additive: counts of layers, of clips, or of single time steps (`messages[t : t +
1]`) may be added, and the sum is the count of the whole. Weights that happen to be zero are counted: a chip
stores them; a `SparseConvGeometry` says of its zeros that they are no synapses. What other tools count differently:
docs/counting.md.

Legend: T time steps, C channels, H rows, W columns, N = H * W tokens.
"""

import numpy as np
from numpy.typing import NDArray

from hardware.contraction import contract
from hardware.counts import OpCounts
from hardware.errors import ChipError
from hardware.geometry import AttentionGeometry, ConvGeometry, Geometry, IdentityGeometry, PoolGeometry, ProductGeometry

PRODUCT_BITS = 8  # width of both factors of one product


def count_operation(
    messages_TCHW: NDArray[np.generic],
    geometry: Geometry,
    *,
    binary: bool,
    weight_bits: int,
    state_bits: int,
    state_memory_bits: int,
) -> OpCounts:
    """Count what messages cause in a connection of any geometry, and how often that goes to memory.

    `weight_bits` are those of a stored weight (0: it has none), `state_bits` those of one potential or sum,
    `state_memory_bits` those of all potentials of the target. Raises ChipError as the counts that it calls.
    """
    product_memory_bits = 0
    if isinstance(geometry, AttentionGeometry):
        ops = count_attention(messages_TCHW, geometry.heads)
        product_memory_bits = geometry.channels * geometry.head_dim * state_bits
    elif isinstance(geometry, ProductGeometry):
        ops = count_product(messages_TCHW, geometry, binary=binary)
        product_memory_bits = state_memory_bits if binary else geometry.values * state_bits
    elif isinstance(geometry, PoolGeometry):
        ops = count_comparisons(messages_TCHW, geometry)
    else:
        assert isinstance(geometry, ConvGeometry | IdentityGeometry)
        ops = count_connection(messages_TCHW, geometry, binary=binary, weight_bits=weight_bits)
    return ops + count_accesses(
        ops,
        weight_memory_bits=geometry.weights * weight_bits,
        state_memory_bits=state_memory_bits,
        product_memory_bits=product_memory_bits,
    )


def count_connection(
    messages_TCHW: NDArray[np.generic],
    geometry: ConvGeometry | IdentityGeometry,
    *,
    binary: bool,
    weight_bits: int = 0,
) -> OpCounts:
    """Count what `messages_TCHW`, as emitted by the source, cause on their way through one connection.

    A binary spike causes one synaptic operation in every neuron it reaches. A non-zero graded value causes
    one multiply-accumulate there, or one plain addition over a relay. Each fetches a weight of `weight_bits` (0:
    not counted), except over an identity, which has none. Raises ChipError where the shape is not
    [T, *geometry.in_shape], or where `binary` is stated and other values than 0 and 1 are found.
    """
    _check_messages(messages_TCHW, binary=binary)
    sent_CHW = np.count_nonzero(_of_shape(messages_TCHW, geometry), axis=0)
    events = int((sent_CHW * geometry.fan_out_map()).sum())
    relayed = not binary and isinstance(geometry, IdentityGeometry)
    return OpCounts(
        synaptic_ops=events if binary else 0,
        relay_adds=events if relayed else 0,
        macs=0 if binary or relayed else events,
        weight_bits_read=0 if isinstance(geometry, IdentityGeometry) else events * weight_bits,
        dense_synaptic_ops=len(messages_TCHW) * geometry.synapses if binary else 0,
        dense_macs=len(messages_TCHW) * geometry.dense_macs(),
        padded_macs=len(messages_TCHW) * geometry.padded_macs(),
    )


def count_comparisons(messages_TCHW: NDArray[np.generic], geometry: PoolGeometry) -> OpCounts:
    """Count what finding the largest of every window takes, where only values other than zero are sent.

    Each of them is compared with the largest so far in every window that it reaches. The n of one window take n - 1
    comparisons with each other, and one more with the zero of those that were not sent; where all were sent, that is
    one too many. Raises ChipError where the shape is not [T, *geometry.in_shape].
    """
    sent_CHW = np.count_nonzero(_of_shape(messages_TCHW, geometry), axis=0)
    return OpCounts(comparisons=int((sent_CHW * geometry.fan_out_map()).sum()))


def count_attention(qkv_TCHW: NDArray[np.generic], heads: int) -> OpCounts:
    """Count Q (K^T V) exactly, from the spikes [T, 3C, H, W] of q, k and v in this order, each head by head.

    K^T V costs one coincidence for each (token, k channel, v channel) of a head in which both fired. Then
    each q spike adds one row of its head's K^T V, head_dim entries. The whole row is counted, because which
    entries are zero is known only once they are read; `attention_gated_adds_nonzero` says how many were not
    zero. Raises ChipError where the messages are not binary or the channels do not split into q, k, v and
    heads.
    """
    _check_messages(qkv_TCHW, binary=True)
    steps, channels, height, width = qkv_TCHW.shape
    if channels % 3:
        raise ChipError(f"attention takes the channels of q, k and v: {channels} is no multiple of 3")
    geometry = AttentionGeometry(channels=channels // 3, tokens=height * width, heads=heads)
    split = (steps, 3, heads, geometry.head_dim, geometry.tokens)
    # Each [T, heads, head_dim, N]; float32 for a fast product, exact since no entry exceeds N < 2^24.
    q, k, v = np.moveaxis((qkv_TCHW != 0).reshape(split), 1, 0).astype(np.float32)
    coincidences = k @ v.swapaxes(-1, -2)  # [T, heads, k channel, v channel]
    nonzero_per_row = np.count_nonzero(coincidences, axis=-1)
    q_spikes_per_row = np.count_nonzero(q, axis=-1)
    return OpCounts(
        attention_coincidences=int(coincidences.sum(dtype=np.float64)),
        attention_gated_adds=int(q_spikes_per_row.sum()) * geometry.head_dim,
        attention_gated_adds_nonzero=int((q_spikes_per_row * nonzero_per_row).sum()),
        dense_attention_ops=steps * geometry.dense_ops(),
    )


def count_product(messages_TCHW: NDArray[np.generic], geometry: ProductGeometry, *, binary: bool) -> OpCounts:
    """Count a sum of products of values and spikes exactly, by the rules of attention.

    Where the values are spikes, too, every pair of which both fired is a coincidence; else every spike adds the values
    that it meets, zeros included. Raises ChipError where the shape is not [T, *geometry.in_shape].
    """
    sent = _of_shape(messages_TCHW, geometry).reshape(len(messages_TCHW), -1) != 0
    left, right = sent[:, : geometry.values].astype(np.float64), sent[:, geometry.values :].astype(np.float64)
    both = int(contract(left, right, geometry).sum())
    dense = len(messages_TCHW) * geometry.dense_ops()
    if binary:
        return OpCounts(attention_coincidences=both, dense_attention_ops=dense)
    return OpCounts(
        attention_gated_adds=int(contract(np.ones_like(left), right, geometry).sum()),
        attention_gated_adds_nonzero=both,
        dense_attention_ops=dense,
    )


def count_neurons(time_steps: int, neurons: int, *, biases: int = 0) -> OpCounts:
    """Count the updates of `neurons` neurons, of which `biases` have a bias, each once per time step."""
    return OpCounts(neuron_updates=time_steps * neurons, bias_adds=time_steps * biases)


def count_multiplications(macs: int, message_bits: int) -> OpCounts:
    """Count the products of 8 x 8 bits that multiply-accumulates of messages of `message_bits` take.

    Weights have 8 bits at most here, so a message is multiplied 8 bits at a time.
    """
    return OpCounts(products=macs * -(-message_bits // PRODUCT_BITS))


def count_relays(time_steps: int, values: int) -> OpCounts:
    """Count the sums that a relay of `values` takes up and sends on."""
    return OpCounts(relay_updates=time_steps * values)


def count_biases(bias: NDArray[np.int64], shape: tuple[int, ...], *, steps: int, bias_bits: int) -> OpCounts:
    """Count biases that broadcast to `shape`, or to a time step of it each: read and added at every time step.

    One that is zero at some time steps alone is added at all of them.
    """
    at_some_step = bias.any(axis=0) if bias.ndim > len(shape) else bias
    adds = steps * int(np.count_nonzero(np.broadcast_to(at_some_step, shape)))
    return OpCounts(bias_adds=adds) + count_parameter_reads(adds, memory_bits=bias.size * bias_bits)


def count_gains(time_steps: int, neurons: int) -> OpCounts:
    """Count the currents of `neurons` neurons that a norm of its own for every time step multiplies."""
    return OpCounts(gain_macs=time_steps * neurons)


def count_messages(messages_TCHW: NDArray[np.generic], *, binary: bool) -> OpCounts:
    """Count what one population sends, once per message, however many connections leave it.

    Raises ChipError for the same messages as `count_connection`.
    """
    _check_messages(messages_TCHW, binary=binary)
    sent = int(np.count_nonzero(messages_TCHW))
    return OpCounts(spikes=sent) if binary else OpCounts(graded_messages=sent)


def count_traffic(messages_TCHW: NDArray[np.generic], *, payload_bits: int, held_steps: int = 0) -> OpCounts:
    """Count what one connection delivers: the address of the sender and a payload (0 bits: a spike, which has none).

    `held_steps` says how long the connection keeps every message in a delay line.
    """
    delivered = int(np.count_nonzero(messages_TCHW))
    address_bits = (int(np.prod(messages_TCHW.shape[1:])) - 1).bit_length()
    return OpCounts(
        deliveries=delivered,
        traffic_bits=delivered * (address_bits + payload_bits),
        held_messages=delivered if held_steps else 0,
        held_steps=delivered * held_steps,
    )


def count_accesses(
    ops: OpCounts, *, weight_memory_bits: int, state_memory_bits: int, product_memory_bits: int = 0
) -> OpCounts:
    """Count how often the operations of one connection go to memory (the terms of Lemaire et al. 2022).

    An operation fetches its weight, and reads and writes the potential or the sum that it adds to, a comparison the
    largest value so far. A coincidence reads and writes an entry of K^T V, a gated addition reads one. The sizes are
    those of the connection's weights (0: it has none), of the target's potentials and of all heads' K^T V.
    """
    weights = ops.synaptic_ops + ops.macs if weight_memory_bits else 0
    sums = ops.synaptic_ops + ops.macs + ops.relay_adds + ops.attention_gated_adds + ops.comparisons
    return (
        count_parameter_reads(weights, memory_bits=weight_memory_bits)
        + count_state_accesses(reads=sums, writes=sums, memory_bits=state_memory_bits)
        + count_state_accesses(
            reads=ops.attention_coincidences + ops.attention_gated_adds,
            writes=ops.attention_coincidences,
            memory_bits=product_memory_bits,
        )
    )


def count_parameter_reads(reads: int, *, memory_bits: int) -> OpCounts:
    """Count reads from a memory of weights, gains or biases."""
    return OpCounts(parameter_reads=reads, parameter_reach=reads * memory_bits)


def count_state_accesses(*, reads: int, writes: int, memory_bits: int) -> OpCounts:
    """Count reads from and writes to a memory of potentials or sums."""
    return OpCounts(state_reads=reads, state_writes=writes, state_reach=(reads + writes) * memory_bits)


def expected_ops(geometry: ConvGeometry | IdentityGeometry, rate: float, *, time_steps: int = 1) -> float:
    """Operations to expect without a recording: firing rate x synapses x time steps.

    Equal to the traced count where every position fires at the same rate; the trace differs where spikes
    gather at the borders (which reach fewer neurons) or away from them. Raises ChipError for a rate outside
    [0, 1].
    """
    if not 0.0 <= rate <= 1.0:
        raise ChipError(f"a firing rate is between 0 and 1 spikes per neuron and time step, found {rate}")
    return rate * geometry.synapses * time_steps


def _of_shape(messages_TCHW: NDArray[np.generic], geometry: Geometry) -> NDArray[np.generic]:
    if messages_TCHW.shape[1:] != geometry.in_shape:
        raise ChipError(
            f"messages have shape {messages_TCHW.shape}, the connection takes [T, {_text(geometry.in_shape)}]"
        )
    return messages_TCHW


def _check_messages(messages_TCHW: NDArray[np.generic], *, binary: bool) -> None:
    if messages_TCHW.ndim != 4:
        raise ChipError(f"messages have shape {messages_TCHW.shape}, expected [T, C, H, W]")
    if not binary:
        return
    if messages_TCHW.dtype in (np.bool_, np.uint8) and messages_TCHW.max(initial=0) <= 1:
        return  # which is what is asked for every message of a run
    others = messages_TCHW[(messages_TCHW != 0) & (messages_TCHW != 1)]
    if others.size:
        raise ChipError(f"binary spikes are 0 or 1, found {others[0]}; graded messages need binary=False")


def _text(shape: tuple[int, ...]) -> str:
    return ", ".join(str(size) for size in shape)
