"""What a run found: clips, agreement of the executions, counts of every layer, times."""

from dataclasses import dataclass, field

from deploy.report.keys.network import Kind
from hardware.counts import MeanCounts
from hardware.keys import key, optional_key


@dataclass(frozen=True, kw_only=True)
class ClipSummary:
    """One clip, or one view of a video."""

    source: str = field(
        metadata=key("path of the file below the folder that all clips share, with the entry where it holds several")
    )
    start: float = field(metadata=key("where in the video the view begins, as a share of the possible starts"))
    crop: float = field(metadata=key("where along the longer side of the picture it lies, 0 to 1"))
    label: str | None = field(metadata=key("class of the clip; null: unknown"))
    prediction: str = field(metadata=key("class with the largest logit, or its number"))
    logits: tuple[float, ...] = field(metadata=key("result of the deployed network, in units of the float network"))
    float_prediction: str | None = field(metadata=key("the same of the float network; null: the clip was not checked"))
    steps: int = field(metadata=key("time steps of the clip"))
    seconds: float = field(metadata=key("its share of the run of its batch", "s"))
    counts: dict[str, int] = field(
        metadata=key("by kind of operation: how many, all populations and time steps, zeros left out", "operations")
    )


@dataclass(frozen=True, kw_only=True)
class AccuracySummary:
    """Videos whose class is one of the network's; softmax scores are averaged over the views of a video."""

    videos: int = field(metadata=key("videos whose class the network has"))
    views: int = field(metadata=key("clips that were run"))
    checked_videos: int | None = field(
        default=None, metadata=optional_key("of these, videos whose views the interpreters ran, too (`--check`)")
    )
    float_top1: float | None = field(
        default=None, metadata=optional_key("share of right videos among the checked ones, float network")
    )
    integer_top1: float | None = field(
        default=None, metadata=optional_key("share of right videos among the checked ones, deployed")
    )
    deployed_top1: float | None = field(
        default=None, metadata=optional_key("share of right videos on the backend that was asked for")
    )
    note: str | None = field(default=None, metadata=optional_key("why there is no accuracy"))


@dataclass(frozen=True, kw_only=True)
class ExactParity:
    """The integer interpreter against a backend, on the checked clips."""

    bit_exact: bool | None = field(metadata=key("whether every message is equal; null: the backend did not run"))
    layers: int = field(metadata=key("populations that were compared"))
    spikes_compared: int = field(metadata=key("messages that were compared, at every time step"))


@dataclass(frozen=True, kw_only=True)
class FloatParity:
    """The float network against the integers, on the checked clips: what quantisation changed."""

    top1_agreement: float = field(metadata=key("share of clips with the same prediction"))
    spike_match: float = field(metadata=key("share of equal neuron states (spike or none, each time step)"))
    logit_rmse: float = field(metadata=key("root mean square of the difference of logits"))
    inputs_clipped: float = field(metadata=key("share of input values of all clips outside the calibrated range"))
    readouts_saturated: int = field(
        metadata=key("messages of readouts, of all clips, whose potential left its register")
    )


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How executions agree."""

    clips_checked: int = field(metadata=key("clips that both interpreters ran, beside the backend (`--check`)"))
    integer_vs_backend: ExactParity = field(metadata=key("bit for bit, whatever `backend` is"))
    integer_vs_lava: ExactParity = field(metadata=key("the same where that is Lava; else Lava was not run"))
    float_vs_integer: FloatParity = field(metadata=key("measured"))

    @property
    def exact(self) -> ExactParity | None:
        """The integers against the backend that ran; None: the integer interpreter ran alone."""
        return None if self.integer_vs_backend.bit_exact is None else self.integer_vs_backend


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """One population, and how it fired."""

    name: str = field(metadata=key("population, as in the .nir file where it is a node of it"))
    kind: Kind = field(metadata=key("input, lif (spikes), integrator (sends its potential), relay (passes a sum on)"))
    shape: tuple[int, ...] = field(metadata=key("C, H, W"))
    neurons: int = field(metadata=key("LIF neurons or integrators; 0 for inputs and relays"))
    rate: float | None = field(metadata=key("spikes per neuron and time step, deployed; null: it sends no spikes"))
    float_rate: float | None = field(metadata=key("the same in the float network, in the checked clips"))
    spike_match: float | None = field(metadata=key("share of equal neuron states, float against integer, in these"))
    expected_ops: float | None = field(
        metadata=key("operations by rate x synapses, attention left out; null for inputs", "operations")
    )
    expected_differs_by: tuple[str, ...] = field(metadata=key("why the traced count may be another"))


@dataclass(frozen=True, kw_only=True)
class LayerSummary(MeanCounts, LayerFacts):
    """One population and the synapses that end in it; counts of the mean clip."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long a run took, and its memory."""

    build_s: float = field(metadata=key("building the backend's network, all batches", "s"))
    run_s: float = field(metadata=key("running all clips", "s"))
    seconds_per_clip: float = field(metadata=key("`run_s` per clip", "s"))
    time_steps: int = field(metadata=key("time steps of all batches, filling and emptying included"))
    peak_rss_mb: float = field(metadata=key("memory of the largest process", "MB"))
    lava_processes: int = field(metadata=key("processes of the Lava network that had the most; 0: none ran"))
    lava_channels: int = field(metadata=key("channels between the ports of these processes"))
    lava_channel_messages: int = field(
        metadata=key("values that went through these channels, zeros included; with fused layers, of the first clip")
    )


@dataclass(frozen=True, kw_only=True)
class FixedPointLayer:
    """What fixed point costs a population, on the calibration clips; null where there is nothing to round."""

    name: str = field(metadata=key("population"))
    kind: Kind = field(metadata=key("as in `layers`"))
    scale: float = field(metadata=key("what 1.0 becomes", "least significant bits"))
    weight_error: float | None = field(
        metadata=key("root mean square of the rounding error as a share of that of the weights, the worst connection")
    )
    weights_clipped: float = field(metadata=key("share of weights that the exponent cuts off"))
    threshold_error: float | None = field(metadata=key("largest relative error of a threshold"))
    decay_error: float | None = field(metadata=key("largest relative error of a decay"))
    current_decay_error: float | None = field(metadata=key("the same of the current's decay"))
    headroom: float = field(metadata=key("how full its fullest register gets in the worst case; 1 is full"))
    fullest_register: str = field(metadata=key("which register that is"))
    sum_headroom: float | None = field(metadata=key("the same of its 24-bit registers"))
    current_headroom: float | None = field(metadata=key("the same of its input current, of 2^17"))
    saturated: float | None = field(metadata=key("share of potentials at the ends of their register"))
    float_rate: float | None = field(metadata=key("spikes per neuron and time step in real numbers"))
    rate: float | None = field(metadata=key("the same in integers"))
    row_error: float | None = field(
        metadata=key("rounding error of the worst output channel's currents, as a share of their own size")
    )
    worst_row: int | None = field(metadata=key("that channel"))
    lost_current: float | None = field(
        metadata=key("what weights that became 0 carry of the current that makes a neuron fire, in the worst channel")
    )
    losing_row: int | None = field(metadata=key("that channel"))
    shifted_channel: int | None = field(metadata=key("channel whose spikes rounding changes most, beyond chance"))
    shifted_float_spikes: int | None = field(metadata=key("its spikes in real numbers"))
    shifted_spikes: int | None = field(metadata=key("the same in integers"))
    peak: float | None = field(metadata=key("largest potential in integers, as a share of the threshold"))
    float_peak: float | None = field(metadata=key("the same in real numbers"))
    silenced: bool = field(metadata=key("it fires in real numbers and never in integers"))
    spike_match: float | None = field(metadata=key("share of equal neuron states; null: it sends no spikes"))
    heard_match: float | None = field(
        metadata=key("the same of the layers whose spikes it hears, their mean; 1 where it hears none")
    )


@dataclass(frozen=True, kw_only=True)
class CalibrationPredictions:
    """Predictions of the calibration clips in real numbers and in integers."""

    clips: int = field(metadata=key("calibration clips"))
    same: int = field(metadata=key("those with the same prediction"))
    lead: float | None = field(
        metadata=key("result of the best class less that of the second, median; null: one output")
    )
    error: float | None = field(
        metadata=key("root mean square of what rounding changes in the difference of two classes; null as `lead`")
    )


@dataclass(frozen=True, kw_only=True)
class ReferenceLayer:
    """Spikes of another simulator beside those of a layer."""

    name: str = field(metadata=key("population"))
    rate: float = field(metadata=key("spikes per neuron and time step of the other simulator"))
    compared: int = field(metadata=key("neuron states that were compared"))
    float_match: float = field(metadata=key("share of equal states, float network"))
    float_first_difference: tuple[int, int, int] | None = field(
        metadata=key("clip, time step and neuron of the first that differs, from 0; null: none does")
    )
    deployed_match: float = field(metadata=key("share of equal states, deployed network"))
    deployed_first_difference: tuple[int, int, int] | None = field(metadata=key("the same of the deployed network"))


@dataclass(frozen=True, kw_only=True)
class ReferenceSummary:
    """A recording of another simulator (`--reference`) beside this run."""

    file: str = field(metadata=key("name of the recording"))
    layers: tuple[ReferenceLayer, ...] = field(metadata=key("layers that both have"))
    unmatched: tuple[str, ...] = field(metadata=key("names in the recording that no layer has"))
