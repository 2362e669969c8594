"""Each mend of `compat`: what fails in stock Lava, that it works with the mend, and that nothing else has
changed.

What needs an interpreter without Lava, or with stock Lava, runs in one of its own.
"""

import gc
import importlib.util
import logging
import subprocess
import sys
import textwrap
import warnings
import weakref
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from deploy.lava_network import compat
from deploy.lava_network.watchdog import LavaRun
from processes import HANG_S, ROOT

# isort: split
from lava.magma.compiler.compiler import Compiler
from lava.magma.compiler.exceptions import NoProcessModelFound
from lava.magma.core.process.ports.ports import ReshapePort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

# A network whose last process keeps what the first one sends, run by stock Lava, without `LavaRun`.
RUN_A_NETWORK = """
import numpy as np
from deploy.lava_network.compat import ModelMap
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io import sink, source

send, receive = source.RingBuffer(data=np.arange(6).reshape(2, 3)), sink.RingBuffer(shape=(2,), buffer=3)
send.s_out.connect(receive.a_in)
models = ModelMap({source.RingBuffer: source.PySendModelFixed, sink.RingBuffer: sink.PyReceiveModelFixed})
receive.run(RunSteps(num_steps=3), Loihi2SimCfg(exception_proc_model_map=models))
assert receive.data.get().tolist() == [[0, 1, 2], [3, 4, 5]]
receive.stop()
"""


# A broad way around the first failure of stock Lava, to come to the next one.
PAST_THE_DATACLASS = """
import dataclasses, functools

def dataclass(cls=None, /, *, stock=dataclasses.dataclass, **options):
    if cls is None:
        return functools.partial(dataclass, **options)
    if cls.__module__.startswith("lava."):
        options["unsafe_hash"] = True
    return stock(cls, **options)

dataclasses.dataclass = dataclass
"""

NO_OPENCV = """
import sys
sys.modules["cv2"] = None
"""


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False)


def assert_runs(code: str) -> None:
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr


def stock_copy_of(name: str) -> ModuleType:
    """The module as Lava ships it, beside the one in use."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stock_import_fails_at_a_dataclass() -> None:
    failed = run_python("import lava.magma.core.process.process")
    assert "ValueError: mutable default <class 'lava.magma.compiler.var_model.ByteEncoder'>" in failed.stderr


def test_import_and_run_are_quiet_and_leave_the_standard_library_alone() -> None:
    code = """
        import dataclasses, logging, multiprocessing, sys, warnings
        import svformer.common.errors

        def state():
            standard_library = dataclasses.dataclass, multiprocessing.set_start_method
            return standard_library, sys.meta_path[:], logging.root.handlers[:]

        before = state()
        warnings.simplefilter("error")
        try:
            import lava.magma.core.process.process
        except ValueError:
            pass  # a failed import does not spoil what follows

        import deploy.lava_network
        import lava.proc.conv.process, lava.proc.dense.process, lava.proc.lif.process
        from lava.magma.compiler.var_model import AxonEncoder, ByteEncoder

        assert state() == before
        assert ByteEncoder.__hash__ is not None
        assert AxonEncoder.__hash__ is None, "only ByteEncoder gets a hash"

        @dataclasses.dataclass
        class Users:
            number: int = 0

        assert Users.__hash__ is None
        try:
            dataclasses.make_dataclass("Refused", [("user", Users, Users())])
        except ValueError as error:
            assert "mutable default" in str(error)
        else:
            raise AssertionError("a mutable default must still be refused")
    """
    still_unset = "assert multiprocessing.get_start_method(allow_none=True) is None"
    assert_runs(textwrap.dedent(code) + RUN_A_NETWORK + still_unset)


def test_stock_import_fails_after_any_use_of_multiprocessing() -> None:
    use = "import multiprocessing; multiprocessing.Queue()"
    failed = run_python(f"{PAST_THE_DATACLASS}{use}\nimport lava.magma.core.process.process")
    assert "RuntimeError: context has already been set" in failed.stderr


def test_lava_forks_under_another_start_method_and_leaves_it() -> None:
    assert_runs(
        "import multiprocessing; multiprocessing.set_start_method('spawn')"
        + RUN_A_NETWORK
        + "assert multiprocessing.get_start_method() == 'spawn'"
    )


def test_stock_lava_dl_fails_without_opencv() -> None:
    failed = run_python(f"{PAST_THE_DATACLASS}{NO_OPENCV}import lava.lib.dl.slayer")
    assert "ModuleNotFoundError: import of cv2 halted" in failed.stderr


def test_lava_dl_needs_no_opencv() -> None:
    assert_runs(f"""{NO_OPENCV}
from deploy.lava_network import compat

lava_dl = compat.load_lava_dl()
assert lava_dl.netx.hdf5.Network and lava_dl.slayer.block.cuba.Dense
assert compat.OBJECT_DETECTION not in sys.modules, "the stub is gone"
""")


def test_scipy_signal_comes_when_it_is_asked_for() -> None:
    assert_runs("""
import sys

import deploy.lava_network
from lava.proc.conv import utils

assert "scipy.signal" not in sys.modules
assert utils.signal.convolve2d([[1, 2]], [[3]]).tolist() == [[3, 6]]

from scipy import signal

assert signal is sys.modules["scipy.signal"]
""")


def test_pictures_of_lava_dl_are_imported_when_they_are_drawn() -> None:
    assert_runs("""
import sys

import deploy.lava_network
from lava.lib.dl.slayer import io

assert not {"matplotlib.pyplot", "matplotlib.animation"} & sys.modules.keys()
assert io.animation.FuncAnimation.__module__ == "matplotlib.animation"
assert io.plt.figure.__module__ == "matplotlib.pyplot"

from matplotlib import animation, pyplot

assert (animation, pyplot) == (sys.modules["matplotlib.animation"], sys.modules["matplotlib.pyplot"])
assert (animation.__class__, pyplot.__class__) == (type(sys), type(sys))
""")


def test_missing_lava_is_one_line_that_says_what_to_install() -> None:
    failed = run_python("import sys; sys.modules['lava'] = None; import deploy.lava_network")
    last_line = failed.stderr.splitlines()[-1]
    assert last_line.startswith("svformer.common.errors.InputError: the Lava backend needs the Python package 'lava'")
    assert compat.INSTALL_COMMAND in last_line


def test_stock_reshape_uses_a_keyword_that_numpy_took_back() -> None:
    stock = stock_copy_of("lava.magma.core.process.ports.ports").ReshapePort((6,), (2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for reshape in (stock.get_transform_func_fwd(), stock.get_transform_func_bwd()):
            with pytest.raises((DeprecationWarning, TypeError)):  # numpy < 2.4, and later
                reshape(np.zeros((2, 3)))


def test_reshape_port_keeps_the_order_of_elements() -> None:
    port = ReshapePort((6,), (2, 3))
    there = port.get_transform_func_fwd()(np.arange(6).reshape(2, 3))
    back = port.get_transform_func_bwd()(there)
    assert there.tolist() == [0, 1, 2, 3, 4, 5]
    assert back.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_stock_keeps_every_variable() -> None:
    stock = stock_copy_of("lava.magma.core.process.variable")
    assert stock.Var(shape=(1,), init=0) in stock.VarServer().vars


def test_dropped_process_is_freed_and_numbers_stay_unique() -> None:
    class Layer(AbstractProcess):
        def __init__(self) -> None:
            super().__init__()
            self.weights = Var(shape=(3,), init=np.zeros(3))

    first, second = Layer(), Layer()
    assert second.id > first.id
    assert second.weights.id > first.weights.id
    trace = weakref.ref(first.weights)
    del first
    gc.collect()
    assert trace() is None


def test_processes_and_compilers_add_no_log_handlers() -> None:
    loggers = [logging.getLogger(), logging.getLogger("lava.magma.compiler.compiler")]
    before = [logger.handlers[:] for logger in loggers]
    AbstractProcess(), Compiler()
    assert [logger.handlers for logger in loggers] == before

    stock_copy_of("lava.magma.core.process.process").AbstractProcess()
    added = set(loggers[0].handlers) - set(before[0])
    loggers[0].handlers[:] = before[0]
    assert len(added) == 1


def test_model_map_answers_for_instances_and_classes() -> None:
    class Process(AbstractProcess):
        pass

    class Other(AbstractProcess):
        pass

    models = compat.ModelMap({Process: int})
    assert Process in models
    assert models[Process] is int
    assert models[Process()] is int
    assert Other() not in models
    with pytest.raises(KeyError):
        models[Other()]


def test_model_of_another_folder_is_found_through_the_map_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lonely").mkdir()
    (tmp_path / "lonely" / "lonely_process.py").write_text(
        "from lava.magma.core.process.process import AbstractProcess\nclass Lonely(AbstractProcess): pass\n"
    )
    (tmp_path / "lonely_model.py").write_text(
        textwrap.dedent("""
            from lava.magma.core.decorator import implements, requires
            from lava.magma.core.model.py.model import PyLoihiProcessModel
            from lava.magma.core.resources import CPU
            from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
            from lonely.lonely_process import Lonely

            @implements(proc=Lonely, protocol=LoihiProtocol)
            @requires(CPU)
            class LonelyModel(PyLoihiProcessModel):
                pass
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    process = importlib.import_module("lonely.lonely_process").Lonely
    model = importlib.import_module("lonely_model").LonelyModel
    with pytest.raises(NoProcessModelFound):
        process().compile(Loihi2SimCfg(select_tag="fixed_pt"))
    run_cfg = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=compat.ModelMap({process: model}))
    assert [type(p) for p in process().compile(run_cfg).proc_builders] == [process]


# lava-dl's own network from a .net file, spike for spike against plain integers

CLIPS, STEPS = 3, 6
V_DECAY, I_DECAY = 512, 2048  # of 4096


def lif_spikes(current_TN: np.ndarray, *, bias_N: np.ndarray, threshold: int) -> np.ndarray:
    """Loihi's LIF on integers for one clip from rest; states in 1/64 of a weight unit."""
    u_N = v_N = np.zeros(current_TN.shape[1], np.int64)
    spikes_TN = np.zeros(current_TN.shape, np.int64)
    for t, current_N in enumerate(current_TN):
        u_N = np.sign(u_N) * (np.abs(u_N) * (4096 - I_DECAY) >> 12) + (current_N << 6)
        v_N = np.sign(v_N) * (np.abs(v_N) * (4096 - V_DECAY) >> 12) + u_N + (bias_N << 6)
        spikes_TN[t] = v_N > threshold << 6
        v_N = np.where(spikes_TN[t], 0, v_N)
    return spikes_TN


def correlate(clip_TCHW: np.ndarray, weight_OCYX: np.ndarray) -> np.ndarray:
    """3x3 cross-correlation, stride 2 and padding 1 over rows, stride 1 and no padding over columns."""
    padded_TCHW = np.pad(clip_TCHW, [(0, 0), (0, 0), (1, 1), (0, 0)])
    windows_TCHWYX = np.lib.stride_tricks.sliding_window_view(padded_TCHW, (3, 3), axis=(2, 3))[:, :, ::2]
    return np.einsum("tchwyx,ocyx->tohw", windows_TCHWYX, weight_OCYX)


def write_net(path: Path, layers: list[dict[str, object]]) -> None:
    """The .net layout: group layer/<number>, shapes in C, H, W order, neurons as lava-dl's CUBA."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            for key, value in layer.items():
                file[f"layer/{number}/{key}"] = value
            if "neuron/vThMant" in layer:
                neuron = {"type": b"CUBA", "iDecay": I_DECAY, "vDecay": V_DECAY, "refDelay": 1}
                for key, value in neuron.items():
                    file[f"layer/{number}/neuron/{key}"] = value


def test_netx_network_equals_integer_reference_spike_for_spike(tmp_path: Path) -> None:
    lava_dl = compat.load_lava_dl()
    random = np.random.default_rng(0)
    clips_KTCHW = random.integers(0, 2, (CLIPS, STEPS, 2, 5, 4))
    conv_OCYX, conv_bias_O = random.integers(-100, 128, (3, 2, 3, 3)), np.array([5, -20, 30])
    dense_MN, dense_bias_M = random.integers(-127, 128, (4, 3 * 3 * 2)), np.array([10, 0, -10, 3])
    window = {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 1], "groups": 1}
    conv = {
        "type": b"conv",
        "shape": [3, 3, 2],
        "weight": conv_OCYX,
        "bias": conv_bias_O,
        "neuron/vThMant": 200,
    }
    dense = {"type": b"dense", "shape": [4], "weight": dense_MN, "bias": dense_bias_M, "neuron/vThMant": 150}
    layers = [{"type": b"input", "shape": [2, 5, 4]}, conv | window, {"type": b"flatten"}, dense]
    write_net(tmp_path / "network.net", layers)

    expected = []
    for clip_TCHW in clips_KTCHW:
        current_TN = correlate(clip_TCHW, conv_OCYX).reshape(STEPS, -1)
        conv_spikes_TN = lif_spikes(current_TN, bias_N=conv_bias_O.repeat(3 * 2), threshold=200)
        expected.append(lif_spikes(conv_spikes_TN @ dense_MN.T, bias_N=dense_bias_M, threshold=150))

    depth = 2  # each synapse sends one step late
    steps = CLIPS * STEPS + depth
    network = lava_dl.netx.hdf5.Network(str(tmp_path / "network.net"), reset_interval=STEPS, reset_offset=1)
    frames_WHCT = np.concatenate([*clips_KTCHW, clips_KTCHW[0][:depth]]).transpose(3, 2, 1, 0)
    source, sink = Source(data=frames_WHCT), Sink(shape=(4,), buffer=steps)
    source.s_out.connect(network.inp)
    network.out.connect(sink.a_in)
    with LavaRun(sink, run_cfg=Loihi2SimCfg(select_tag="fixed_pt"), timeout_s=HANG_S) as run:
        run.step(steps)
        spikes_TM = sink.data.get().T[depth:].astype(int)
    network.net_config.f.close()

    assert 0.1 < np.mean(expected) < 0.9, "the reference must neither be silent nor fire always"
    np.testing.assert_array_equal(spikes_TM.reshape(CLIPS, STEPS, 4), expected)
