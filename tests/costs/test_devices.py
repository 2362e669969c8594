"""Devices that one buys, and the processor's own energy counters: sums by hand, and what is refused."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from hardware.devices import on_device, shipped_devices
from hardware.errors import ChipError
from hardware.rapl import measured


def test_every_device_has_the_peak_of_its_vendor_and_published_runs() -> None:
    for device in shipped_devices():
        figure = device.multiply_accumulate
        assert figure.kind == "inferred", "from a published time; nothing was measured here"
        assert "vendor" in {other.kind for other in figure.others}
        assert figure.range_pj[0] == min(other.value for other in figure.others if other.kind == "vendor")


def test_figures_of_devices_by_hand() -> None:
    """2 W x 4.1 ms / 1.5 G = 5.5 pJ; 2 TOPS/W are 1 pJ; 25 W x 3.49 ms / 4.35 G = 20 pJ; 15 W / 10 T/s = 1.5 pJ."""
    coral, jetson = (device.multiply_accumulate for device in shipped_devices())
    assert coral.pj == pytest.approx(2 * 4.1e-3 / 1.5e9 * 1e12, rel=0.01)
    assert coral.range_pj == (pytest.approx(1e12 / (2e12 / 2)), pytest.approx(2 * 2.6e-3 / 0.3e9 * 1e12, rel=0.03))
    assert jetson.pj == pytest.approx(25 * 3.49e-3 / 4.35e9 * 1e12, rel=0.01)
    assert jetson.range_pj[0] == pytest.approx(15 / (20e12 / 2) * 1e12)


def test_energy_on_a_device_is_products_times_the_figure() -> None:
    """The published geometry: 37.7 G products are 37.7 mJ at Coral's peak."""
    coral, _ = shipped_devices()
    found = on_device(37.7e9, coral)
    assert (found.low_mj, found.mj, found.high_mj) == pytest.approx((37.7, 37.7 * 5.5, 37.7 * 17))


def counters(folder: Path, *joule: float) -> list[Path]:
    """Sockets whose counters stand at these values."""
    found = []
    for number, value in enumerate(joule):
        place = folder / f"intel-rapl:{number}"
        place.mkdir()
        (place / "name").write_text(f"package-{number}\n")
        (place / "max_energy_range_uj").write_text("100000000\n")
        (place / "energy_uj").write_text(f"{int(value * 1e6)}\n")
        found.append(place / "energy_uj")
    (folder / "intel-rapl:0:0").mkdir()
    (folder / "intel-rapl:0:0" / "name").write_text("core\n")
    return found


def test_idle_is_subtracted_and_counters_that_begin_anew_are_understood(tmp_path: Path) -> None:
    """Idle: 2 J + 3 J in 1 s. Work: 40 J, and from 98 J over the end at 100 J to 8 J, in 2 s: 50 J, 40 J net."""
    first, second = counters(tmp_path, 10, 95)
    times = iter([0.0, 1.0, 1.0, 3.0])

    def rest(seconds: float) -> None:
        first.write_text("12000000")
        second.write_text("98000000")

    def work() -> None:
        first.write_text("52000000")
        second.write_text("8000000")

    found = measured(work, folder=tmp_path, clock=lambda: next(times), sleep=rest)
    assert (found.joule, found.seconds, found.idle_watt) == pytest.approx((50, 2, 5))
    assert found.net_joule == pytest.approx(40)


def test_a_machine_without_counters_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ChipError, match="shows no energy counter"):
        measured(lambda: None, folder=tmp_path / "powercap")
    with pytest.raises(ChipError, match="shows no energy counter"):
        measured(lambda: None, folder=tmp_path)


def test_counters_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (counter,) = counters(tmp_path, 1)
    counter.unlink()
    with pytest.raises(ChipError, match=r"energy_uj: cannot be read \(No such file"):
        measured(lambda: None, folder=tmp_path, sleep=lambda seconds: None)


@pytest.mark.torch
def test_the_command_refuses_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from svformer.assets import TINY_CHECKPOINT
    from svformer.common.cli import run_cli

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    twin_energy = importlib.import_module("twin_energy")

    def nothing_there(work: Callable[[], object]) -> None:
        raise ChipError("this machine shows no energy counter (RAPL); measure on one that does")

    monkeypatch.setattr(twin_energy, "measured", nothing_there)
    assert run_cli(twin_energy.main, [str(TINY_CHECKPOINT)]) == 2
    assert capsys.readouterr().err == "error: this machine shows no energy counter (RAPL); measure on one that does\n"
