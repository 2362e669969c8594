"""Write the .nir files of other frameworks, and recordings of what they did, that tests/test_interop.py reads.

    python tests/data/write_fixtures.py snntorch OUT      (or another name of WRITERS)

Each in an environment of its own with that framework; see README.md for the versions. Not a part of the tests.
"""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np

OUT = Path(sys.argv[2])
SAMPLES, STEPS = 2, 24
Recording = dict[str, np.ndarray]  # node name -> [samples, steps, ...]


def record(name: str, recording: Recording, dt_s: float) -> None:
    """Spikes as booleans under `spikes`, the input as it is under `signal`."""
    nodes = {}
    for node, values in recording.items():
        observable = "signal" if node.startswith("input") else "spikes"
        flat = values.reshape(*values.shape[:2], -1)
        kept = flat.astype(np.float32) if observable == "signal" else flat.astype(bool)
        nodes[node] = nir.NIRNodeData({observable: nir.TimeGriddedData(kept, dt_s)})
    nir.write_data(str(OUT / f"{name}.h5"), nir.NIRGraphData(nodes=nodes))


def run(net: Any, names: dict[str, Any], x: np.ndarray, entry: str, reset: Callable[[], None]) -> Recording:
    """What the modules named sent when the torch model `net` got x [samples, steps, ...], one step after the other."""
    import torch

    sent: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, out: sent[name].append(
            (out[0] if isinstance(out, tuple) else out).detach().numpy().copy()
        )

    handles = [module.register_forward_hook(keep(name)) for name, module in names.items()]
    reset()
    with torch.no_grad():
        for t in range(x.shape[1]):
            net(torch.from_numpy(x[:, t]))
    for handle in handles:
        handle.remove()
    return {entry: x, **{name: np.stack(steps, axis=1) for name, steps in sent.items()}}


def snntorch() -> None:
    """Its time step is fixed at 1e-4 s."""
    import snntorch as snn
    import torch
    from snntorch import utils
    from snntorch.export_nir import export_to_nir
    from torch import nn

    def neuron(kind: Any, *shape: int, **options: Any) -> Any:
        decays = {"beta": 0.9} if "eaky" in kind.__name__ else {"alpha": 0.8, "beta": 0.9}
        if kind in (snn.Leaky, snn.Synaptic):
            decays = {name: torch.full(shape, value) for name, value in decays.items()}
            options["threshold"] = torch.ones(shape)
        return kind(**decays, init_hidden=True, reset_mechanism="zero", reset_delay=False, **options)

    torch.manual_seed(0)
    nets = {
        "snntorch_leaky": (
            nn.Sequential(
                nn.Linear(6, 24), neuron(snn.Leaky, 24), nn.Linear(24, 10, bias=False), neuron(snn.Leaky, 10)
            ),
            {"1": 1, "3": 3},
            (6,),
        ),
        "snntorch_recurrent": (
            nn.Sequential(
                nn.Linear(6, 16),
                neuron(snn.RLeaky, linear_features=16),
                nn.Linear(16, 12),
                neuron(snn.Synaptic, 12),
                nn.Linear(12, 8),
                neuron(snn.RLeaky, all_to_all=False, V=torch.linspace(-1, 1, 8)),
            ),
            {"1.lif": 1, "3": 3, "5.lif": 5},
            (6,),
        ),
        "snntorch_conv": (
            nn.Sequential(
                nn.Conv2d(2, 4, 3, padding=1),
                neuron(snn.Leaky, 4, 6, 6),
                nn.AvgPool2d(2),
                nn.Flatten(),
                nn.Linear(36, 8),
                neuron(snn.Leaky, 8),
            ),
            {"1": 1, "5": 5},
            (2, 6, 6),
        ),
    }
    for seed, (name, (net, layers, shape)) in enumerate(nets.items()):
        for module in net.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.normal_(module.weight, 0, 1 / np.sqrt(module.weight[0].numel()))
        graph = export_to_nir(net, torch.randn(1, *shape), ignore_dims=[0])
        nir.write(str(OUT / f"{name}.nir"), graph)
        x = np.random.default_rng(seed).normal(0, 1.5, size=(SAMPLES, STEPS, *shape)).astype(np.float32)
        names = {node: net[index] for node, index in layers.items()}
        record(name, run(net, names, x, "input", lambda net=net: utils.reset(net)), 1e-4)


def spikingjelly() -> None:
    import torch
    from spikingjelly.activation_based import functional, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        neuron.LIFNode(tau=2.0, v_threshold=0.4, v_reset=-0.2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 12),
        neuron.IFNode(v_threshold=1.0, v_reset=0.1),
        nn.Linear(12, 8),
        neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=0.5),
    )
    graph = export_to_nir(net, torch.randn(1, 2, 6, 6), dt=1e-3)
    nir.write(str(OUT / "spikingjelly.nir"), graph)
    x = np.random.default_rng(0).normal(0, 1.5, size=(SAMPLES, STEPS, 2, 6, 6)).astype(np.float32)
    names = {f"_{index}": net[index] for index in (1, 5, 7)}
    record("spikingjelly", run(net, names, x, "input_1", lambda: functional.reset_net(net)), 1e-3)


def plain_nir() -> None:
    """All 17 primitives in one graph, and a graph inside it, as the version at hand writes them."""
    rng = np.random.default_rng(0)

    def values(*shape: int, low: float = 0.5, high: float = 1.5) -> np.ndarray:
        return rng.uniform(low, high, size=shape)

    def lif(*shape: int) -> nir.LIF:
        zero = np.zeros(shape)
        return nir.LIF(values(*shape) * 5e-3, values(*shape), v_leak=zero, v_threshold=values(*shape), v_reset=zero)

    recurrent = nir.NIRGraph(
        {
            "input": nir.Input(np.array([6])),
            "lif": lif(6),
            "w_rec": nir.Linear(values(6, 6, low=-0.5, high=0.5)),
            "output": nir.Output(np.array([6])),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    nodes = {
        "input": nir.Input(np.array([2, 8, 8])),
        "conv": nir.Conv2d((8, 8), values(4, 2, 3, 3, low=-1, high=1), 1, "same", 1, 1, values(4)),
        "if": nir.IF(r=values(4, 8, 8) * 1e3, v_threshold=values(4, 8, 8), v_reset=np.zeros((4, 8, 8))),
        "sum": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "average": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "threshold": nir.Threshold(values(4, 2, 2) * 0.1),
        "flatten": nir.Flatten(np.array([4, 2, 2]), 0, -1),
        "affine": nir.Affine(values(6, 16, low=-1, high=1), values(6)),
        "recurrent": recurrent,
        "delay": nir.Delay(np.full(6, 2e-3)),
        "scale": nir.Scale(values(6)),
        "cubalif": nir.CubaLIF(
            tau_syn=np.full(6, 4e-3),
            tau_mem=np.full(6, 8e-3),
            r=np.full(6, 8.0),
            v_leak=np.zeros(6),
            v_threshold=np.ones(6),
            v_reset=np.zeros(6),
            w_in=np.full(6, 4.0),
        ),
        "linear": nir.Linear(values(4, 6, low=-1, high=1)),
        "li": nir.LI(tau=np.full(4, 5e-3), r=np.ones(4), v_leak=np.zeros(4)),
        "i": nir.I(r=np.full(4, 10.0)),
        "cubali": nir.CubaLI(np.full(4, 4e-3), np.full(4, 8e-3), np.ones(4), np.zeros(4)),
        "output": nir.Output(np.array([4])),
    }
    edges = list(itertools.pairwise(nodes))
    graph = nir.NIRGraph(nodes, edges, metadata={"dt": 1e-3, "T": 12}, type_check=False)
    nir.write(str(OUT / f"nir_{nir.version.replace('.', '_')}.nir"), graph)
    line = {
        "input": nir.Input(np.array([2, 9])),
        "conv": nir.Conv1d(9, values(4, 2, 4, low=-1, high=1), 2, 1, 1, 1, values(4)),
        "lif": lif(4, 4),
        "output": nir.Output(np.array([4, 4])),
    }
    nir.write(
        str(OUT / f"nir_{nir.version.replace('.', '_')}_line.nir"),
        nir.NIRGraph(line, list(itertools.pairwise(line)), metadata={"dt": 1e-3, "T": 12}),
    )


def run_portable(name: str, load: Callable[[nir.NIRGraph], Any]) -> None:
    """What a simulator makes of OUT/portable.nir, which is ours: the spikes of all its neurons."""
    import torch

    graph = nir.read(str(OUT / "portable.nir"))
    layers = [layer for layer, node in graph.nodes.items() if isinstance(node, nir.LIF)]
    shape, steps = graph.nodes["input"].input_type["input"], int(graph.metadata["T"])
    x = (np.random.default_rng(0).integers(-4, 5, size=(1, steps, *shape)) / 4).astype(np.float32)
    net, state, sent = load(graph), None, {layer: [] for layer in layers}
    for layer, spikes in sent.items():

        def keep(module: Any, args: Any, out: Any, spikes: list[np.ndarray] = spikes) -> None:
            spikes.append((out[0] if isinstance(out, tuple) else out).detach().numpy().copy())

        net.get_submodule(layer.replace(".", "_")).register_forward_hook(keep)
    with torch.no_grad():
        for t in range(steps):
            _, state = net(torch.from_numpy(x[:, t]), state)
    record(name, {"input": x, **{layer: np.stack(spikes, axis=1) for layer, spikes in sent.items()}}, 1e-4)


def portable_snntorch() -> None:
    from snntorch.import_nir import import_from_nir

    run_portable("portable_snntorch", import_from_nir)


def portable_spikingjelly() -> None:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    run_portable("portable_spikingjelly", lambda graph: import_from_nir(graph, dt=1e-4))


WRITERS = (snntorch, spikingjelly, plain_nir, portable_snntorch, portable_spikingjelly)

if __name__ == "__main__":
    {"nir" if writer is plain_nir else writer.__name__: writer for writer in WRITERS}[sys.argv[1]]()
