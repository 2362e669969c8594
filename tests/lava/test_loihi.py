"""The way to Loihi 2, as far as it goes without Intel's extension: stand-ins take the place of what is missing.

No test here ran on a chip, and none says anything about one.
"""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import graphs
import ints
from deploy import run_lava
from deploy.errors import SimulatorError
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.lif import IntLif
from deploy.lava_network import loihi
from deploy.lava_network.blocks import registered
from deploy.lava_network.compat import ModelMap
from deploy.lava_network.endpoints import Frames, Recorder
from deploy.lava_network.lava_models import LAVA_MODELS
from deploy.lava_network.watchdog import LavaRun
from deploy.passes.schedule import schedule
from hardware import ConvGeometry
from processes import HANG_S
from svformer.common.cli import run_cli
from svformer.common.errors import InputError

# isort: split
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg

FRAMES = 6


PROFILER = """
class _Probe:
    def __init__(self, **options):
        self.options = options

class Loihi2Power(_Probe):
    total_power, static_total_power = [0.25, 0.75], 0.125

class Loihi2ExecutionTime(_Probe):
    avg_time_per_step = 20.0
"""

ADAPTERS = """
import numpy as np
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess

class _Adapter(AbstractProcess):
    def __init__(self, *, shape, num_message_bits):
        super().__init__(shape=shape, num_message_bits=num_message_bits)
        self.inp, self.out = InPort(shape=shape), OutPort(shape=shape)

class PyToN3ConvAdapter(_Adapter): pass
class NxToPyAdapter(_Adapter): pass

class PassOn(PyLoihiProcessModel):
    inp = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    def run_spk(self):
        self.out.send(self.inp.recv())
"""


def lif(shape: tuple[int, int, int], rng: np.random.Generator) -> IntLif:
    channels = (shape[0], 1, 1)
    return ints.lif(
        shape,
        bias_mantissa=rng.integers(-50, 200, channels),
        bias_exponent=6,
        decay=rng.integers(0, 4097, channels),
        threshold=rng.integers(1, 200, channels),
    )


def weights(geometry: ConvGeometry, rng: np.random.Generator) -> IntConvolution:
    return ints.drawn(geometry, rng, 60, exponent=int(rng.integers(-2, 3)))


def network(seed: int) -> IntNetwork:
    """Convolution, neurons, a shortcut that waits a step, a relay without a bias, and a dense layer."""
    rng = np.random.default_rng(seed)
    first = ConvGeometry(in_shape=(2, 6, 5), out_channels=4, kernel=(3, 2), stride=(2, 1), padding=(1, 0), groups=2)
    shortcut = ConvGeometry(in_shape=(2, 6, 5), out_channels=4, kernel=(1, 2), stride=(2, 1))
    dense = ConvGeometry(in_shape=first.out_shape, out_channels=3, kernel=first.out_shape[1:])
    return ints.network(
        {
            "input": ints.entry(first.in_shape, low=-9, high=9),
            "hidden": lif(first.out_shape, rng),
            "sum": ints.relay(first.out_shape),
            "out": lif((3, 1, 1), rng),
        },
        ints.link("input", "hidden", weights(first, rng)),
        ints.link("hidden", "sum", ints.same(first.out_shape, multiplier=7)),
        ints.link("input", "sum", weights(shortcut, rng)),
        ints.link("sum", "out", weights(dense, rng)),
        frames=FRAMES,
    )


def clips(seed: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9, 10, size=(count, FRAMES, 2, 6, 5))


def test_a_last_relay_that_only_scales_is_read_by_the_host() -> None:
    """Spikes times 3 * 2^12, plus 5."""
    net, shape = network(0), (3, 1, 1)
    scaled = ints.network(
        {**net.populations, "output": ints.relay(shape, 5)},
        *net.connections,
        ints.link("out", "output", ints.same(shape, multiplier=3, exponent=12)),
        frames=FRAMES,
    )
    core, finish = loihi.split_readout(scaled)
    assert (core.output, list(core.populations)) == ("out", list(net.populations))
    signals = run_integer(scaled, clips(0))
    np.testing.assert_array_equal(finish(signals["out"]), signals["output"])
    assert set(np.unique(signals["output"])) == {5, 5 + 3 * 2**12}
    assert loihi.split_readout(net)[0] is net


def replaced(net: IntNetwork, **populations: Any) -> IntNetwork:
    return replace(net, populations={**net.populations, **populations})


def test_what_the_chip_cannot_hold_is_refused_all_at_once() -> None:
    net = network(0)
    biased = ints.relay(net.populations["sum"].shape, [1] * 4)
    moving = replace(net.populations["out"], start=ints.values(1))
    changed = replaced(net, sum=biased, out=moving)
    with pytest.raises(InputError) as caught:
        loihi.require_buildable(changed, schedule(changed))
    message = str(caught.value)
    assert "sum (graded relay): a bias" in message
    assert "out (LIF neurons): a start other than rest after every clip" in message


def test_what_this_way_does_not_build_is_refused() -> None:
    wide = replaced(network(0), input=ints.entry((2, 6, 5), low=-(2**15), high=9))
    with pytest.raises(InputError, match="input values up to 32768, the adapter takes 16 bits"):
        loihi.require_buildable(wide, schedule(wide))


def test_missing_extension_is_one_line() -> None:
    with pytest.raises(InputError, match=r"module lava\.utils\.loihi2_profiler is not installed here") as caught:
        loihi.require_board()
    assert "lava-loihi" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with stand-ins for the modules of lava-loihi, and a board that SLURM would know."""
    for name, source in (("utils/loihi2_profiler", PROFILER), ("proc/embedded_io/spike", ADAPTERS)):
        file = tmp_path / "extension" / "lava" / f"{name}.py"
        file.parent.mkdir(parents=True)
        file.write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path / "extension")
    for variable in ("NXSDKHOST", "BOARD", "PARTITION", "LOIHI_GEN", "HOST_BINARY", "SLURM", "NOSLURM"):
        monkeypatch.setenv(variable, "")  # so that what Lava sets is taken back
        monkeypatch.delenv(variable)
    yield
    for name in ("lava.utils.loihi2_profiler", "lava.proc.embedded_io.spike", "lava.proc.embedded_io"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("extension")
def test_no_board_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InputError, match="lava-loihi is installed, but no board can be reached; set NXSDKHOST"):
        loihi.require_board()
    monkeypatch.setenv("LOIHI_GEN", "N1")
    with pytest.raises(InputError, match="LOIHI_GEN is 'N1'; allowed: N2A2, N3B2, N3B3"):
        loihi.require_board()


@pytest.mark.usefixtures("extension")
def test_an_address_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NXSDKHOST", "192.0.2.1")
    monkeypatch.setattr(loihi.loihi.slurm, "try_run_command", lambda command: False)
    with pytest.raises(InputError, match=r"`ping 192\.0\.2\.1` failed"):
        loihi.require_board()


@pytest.mark.usefixtures("extension")
def test_slurm_and_ethernet_are_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loihi.loihi.slurm, "try_run_command", lambda command: b"up")
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/sinfo")
    loihi.require_board()
    assert (os.environ["SLURM"], os.environ["LOIHI_GEN"]) == ("1", "N3B3")
    monkeypatch.setenv("NXSDKHOST", "192.0.2.1")
    monkeypatch.setenv("LOIHI_GEN", "N3C1")
    loihi.require_board()
    assert (os.environ["NOSLURM"], os.environ["LOIHI_GEN"]) == ("1", "N3C1")
    assert os.environ["HOST_BINARY"] == loihi.HOST_BINARY


@pytest.mark.usefixtures("extension")
def test_lava_itself_stops_at_the_missing_extension() -> None:
    """The network is built and handed to Lava with `Loihi2HwCfg`; there, without Intel's models, it ends.

    Lava looks the models up in the order of a set of processes: either a neuron without its model for the chip
    (`CLoihiProcessModel` is not even a name then) or an adapter without any is met first.
    """
    net = network(0)
    missing = r"could not run the network on Loihi 2: .*(CLoihiProcessModel|NoProcessModelFound.*Adapter)"
    with pytest.raises(SimulatorError, match=missing):
        loihi.run_on_chip(net, clips(0))


def in_place_of_the_board(process: AbstractProcess, condition: Any, run_cfg: Any) -> None:
    """Checks what Lava is asked for, and lets the same network run in its models for a CPU."""
    import lava.proc.embedded_io.spike as adapters

    assert type(run_cfg) is Loihi2HwCfg
    assert [type(probe).__name__ for probe in run_cfg.callback_fxs] == ["Loihi2Power", "Loihi2ExecutionTime"]
    assert run_cfg.callback_fxs[0].options == {"num_steps": condition.num_steps}
    assert set(run_cfg.exception_proc_model_map) == {Frames, Recorder}, "the rest is Intel's"
    models = dict(LAVA_MODELS)
    for adapter in (adapters.PyToN3ConvAdapter, adapters.NxToPyAdapter):
        models[adapter] = registered(type("Model", (adapters.PassOn,), {}), adapter)
    run_cfg = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=ModelMap(models))
    with LavaRun(process, run_cfg=run_cfg, timeout_s=HANG_S) as run:
        run.step(condition.num_steps)


@pytest.mark.usefixtures("extension")
def test_a_run_is_handed_over_with_adapters_and_profiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AbstractProcess, "run", in_place_of_the_board)
    net, frames = network(1), clips(1)
    found = loihi.run_on_chip(net, frames)
    np.testing.assert_array_equal(found.output, run_integer(net, frames)["out"])
    assert found.time_steps == schedule(net).steps(3)
    assert found.readings == {
        "Loihi2Power": {"total_power": [0.25, 0.75], "static_total_power": [0.125]},
        "Loihi2ExecutionTime": {"avg_time_per_step": [20.0]},
    }


@pytest.mark.usefixtures("extension")
def test_command_line_writes_what_the_board_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(AbstractProcess, "run", in_place_of_the_board)
    monkeypatch.setattr(loihi, "require_board", lambda: None)
    rng = np.random.default_rng(0)
    nodes = {
        "input": graphs.entry(4),
        "fc": nir.Linear(rng.normal(size=(3, 4))),
        "out": graphs.lif(3, tau=5e-3, r=5.0, v_threshold=0.5),
        "output": graphs.result(3),
    }
    nir.write(str(tmp_path / "net.nir"), graphs.chain(nodes))
    np.save(tmp_path / "clip.npy", rng.normal(size=(8, 4)))
    options = ("--nir", "net.nir", "--clip", "clip.npy", "--dt", "0.001", "--backend", "loihi2", "--out", "out")
    monkeypatch.chdir(tmp_path)
    code = run_cli(run_lava.main, options)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    report = json.loads(Path("out/loihi2.json").read_text())
    assert report["messages_compared"] == 8 * 3
    assert report["runs"][0]["profiler"]["Loihi2Power"]["total_power"] == [0.25, 0.75]
    assert [row["process"] for row in report["mapping"]] == ["Sparse", "LIFReset"]
    assert "Loihi2ExecutionTime avg_time_per_step: 20" in captured.out
    assert not Path("out/report.json").exists()
