"""The parts of report.json that are known before anything runs: network, plan, proof, fit, fixed point."""

import dataclasses
from collections.abc import Mapping, Sequence

from deploy.execution.deployment import Deployment
from deploy.gates.fidelity import Fidelity
from deploy.ir.integer import IntNetwork
from deploy.ir.intervals import Headroom
from deploy.ir.model import name_of
from deploy.ir.plan import Plan
from deploy.ir.storage import parameter_count, synapse_memory_bits, widest_weight_bits
from deploy.passes.mapping import mapping
from deploy.report.keys.network import (
    FilledRegister,
    FittedChip,
    MappedPart,
    NetworkResources,
    NetworkSummary,
    PlanSummary,
    TuningSummary,
)
from deploy.report.keys.run import CalibrationPredictions, FixedPointLayer
from deploy.report.kinds import NEURONS
from deploy.report.placement import placed
from deploy.report.plan import planned_layers
from deploy.tuning.outcome import Tuned
from hardware import Chip, ChipError, LayerResources, fit
from hardware.resources import BITS_PER_KIB


def network_summary(deployment: Deployment) -> NetworkSummary:
    meta, integer = deployment.graph.metadata, deployment.integer
    return NetworkSummary(
        name=name_of(deployment.graph),
        nodes=len(deployment.graph.nodes),
        populations=len(integer.populations),
        neurons=sum(integer.size(name) for name, p in integer.populations.items() if p.kind in NEURONS),
        parameters=parameter_count(integer),
        weight_bits=widest_weight_bits(integer),
        synapse_memory_kib=synapse_memory_bits(integer) / BITS_PER_KIB,
        frames=deployment.plan.frames,
        input_shape=tuple(deployment.input_format.shape),
        dt_s=float(meta["dt"]),
        readout=integer.readout,
        trained_on=meta.get("dataset"),
        classes=deployment.classes,
        calibration_clips=deployment.calibration_clips,
        tuning=_tuning(deployment.tuned),
        notes=deployment.network.notes,
    )


def _tuning(found: Tuned | None) -> TuningSummary | None:
    if found is None:
        return None
    return TuningSummary(
        clips=found.clips,
        checked_clips=found.checked,
        epochs=len(found.epochs) - 1,
        best_epoch=found.best.number,
        same_before=found.epochs[0].same,
        same_after=found.best.same,
        right_before=found.epochs[0].right,
        right_after=found.best.right,
    )


def plan_summary(deployment: Deployment) -> PlanSummary:
    plan = deployment.plan
    return PlanSummary(
        depth=plan.depth,
        first_step={name: plan.first_step(name) for name in plan.depths},
        longest_delay=plan.longest_lag,
        layers=planned_layers(deployment.integer, plan, deployment.headroom, deployment.resources),
    )


def mapped_parts(network: IntNetwork, plan: Plan) -> tuple[MappedPart, ...]:
    """What holds each part of a network on Loihi 2."""
    return tuple(MappedPart(**dataclasses.asdict(row)) for row in mapping(network, plan))


def filled_register(found: Headroom) -> FilledRegister:
    return FilledRegister(where=found.where, what=found.what, worst=found.worst, limit=found.limit, share=found.share)


def fitted_chips(
    deployment: Deployment, chips: Sequence[Chip], sent: Mapping[str, float] | None = None
) -> dict[str, FittedChip]:
    """Cores and chips, and what the whole network asks for; chips without limits are left out.

    `sent` are the messages of every population in the mean clip; None before a run.
    """
    layers = deployment.resources
    asked = NetworkResources(
        neurons=sum(layer.neurons for layer in layers),
        synapse_memory_kib=sum(layer.kernel_bits for layer in layers) / BITS_PER_KIB,
        synapses=sum(layer.synapses for layer in layers),
        fan_in_axons=sum(layer.fan_in_axons for layer in layers),
        fan_out_axons=sum(layer.fan_out_axons for layer in layers),
    )
    return {chip.name: _fitted(layers, chip, asked, sent) for chip in chips if chip.limits is not None}


def _fitted(
    layers: Sequence[LayerResources], chip: Chip, asked: NetworkResources, sent: Mapping[str, float] | None
) -> FittedChip:
    found, placement, unplaced = fit(layers, chip), None, None
    try:
        placement = placed(layers, chip, sent)
    except ChipError as error:
        unplaced = str(error)
        found = dataclasses.replace(found, obstacles=(*found.obstacles, unplaced))
    return FittedChip(**vars(found), needs=asked, advice=found.advice, placement=placement, unplaced=unplaced)


def fixed_point(found: Fidelity | None) -> tuple[FixedPointLayer, ...]:
    """What fixed point costs every layer, as `deploy.gates.fidelity` measured it; nothing where it did not."""
    layers = found.layers if found else []
    return tuple(
        FixedPointLayer(
            **vars(layer),
            silenced=layer.silenced,
        )
        for layer in layers
    )


def kept_predictions(found: Fidelity | None) -> CalibrationPredictions | None:
    """How many predictions rounding keeps, as `deploy.gates.predictions` measured it."""
    return CalibrationPredictions(**vars(found.predictions)) if found else None
