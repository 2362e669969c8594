"""Devices that one buys to run networks without spikes in 8-bit integers: what a multiply-accumulate takes there.

Files in `hardware/devices/`, in the form of chip files. A figure is power over throughput of a published run, with
memory and all that the device does; the peak that its vendor states stands among the others. Nothing was measured here.
"""

from dataclasses import dataclass, field
from importlib import resources
from typing import Annotated

import yaml
from pydantic import StringConstraints

from hardware.energy import PJ_PER_MJ
from hardware.figures import PerOperation, Strict, Text
from hardware.keys import key


class Device(Strict):
    """One device."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
    title: Text
    multiply_accumulate: PerOperation


@dataclass(frozen=True, kw_only=True)
class OnDevice:
    """What a network without spikes takes on a device if all of its products are done."""

    mj: float = field(metadata=key("energy of a clip", "mJ"))
    low_mj: float = field(metadata=key("by the lowest figure, the vendor's peak", "mJ"))
    high_mj: float = field(metadata=key("by the highest figure", "mJ"))


def shipped_devices() -> tuple[Device, ...]:
    """All devices, by name."""
    files = sorted(resources.files("hardware").joinpath("devices").iterdir(), key=lambda file: file.name)
    return tuple(Device.model_validate(yaml.safe_load(file.read_text("utf-8"))) for file in files)


def on_device(dense_macs: float, device: Device) -> OnDevice:
    """Energy of so many multiply-accumulates."""
    figure = device.multiply_accumulate
    nominal, low, high = (dense_macs * pj / PJ_PER_MJ for pj in (figure.pj, *figure.range_pj))
    return OnDevice(mj=nominal, low_mj=low, high_mj=high)
