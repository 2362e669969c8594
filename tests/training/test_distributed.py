"""Several processes, parts and precisions: what is the same as in one process, and what a launcher sets."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress
from torch import Tensor, nn

from processes import HANG_S, ROOT, SUPPORT
from small_training import CONFIG, EVERYTHING, RECIPE, new_trainer, open_data
from svformer import InputError, SVFormer, SVFormerConfig
from svformer.common.devices import choose_device
from svformer.data.ucf101 import Ucf101
from svformer.model.layers import TimeNorm
from svformer.training.distributed import Processes, first_host, joined, launched, synchronise_norms
from svformer.training.recipe import RECIPES
from svformer.training.trainer import Trainer

# Everything at once; the rate is high from the first step on, so that a difference would grow.
FAST = dataclasses.replace(EVERYTHING, epochs=8, warm_up=RECIPES["ucf101"].warm_up, floor_lr=3e-3, weight_decay=0.5)
EPOCHS = 2
TOLERANCE = 1e-8  # in float64
QUIET = Progress(disable=True)


def largest_difference(found: nn.Module, expected: nn.Module) -> float:
    state = found.state_dict()
    return max(float((state[name] - tensor).abs().max()) for name, tensor in expected.state_dict().items())


# Two processes


def work(root: Path, out: Path) -> None:
    """What each of two processes does: train, save after the first epoch, and write the weights."""
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        trainer = new_trainer(
            open_data(root), FAST, dtype=torch.float64, processes=processes, checkpoint_activations=True
        )
        assert processes.count == 2
        for epoch in range(EPOCHS):
            trainer.run_epoch(QUIET)
            if epoch == 0:
                trainer.save(out / "state.pt")
        torch.save(trainer.model.state_dict(), out / f"rank{processes.rank}.pt")
        torch.save(trainer.result.state_dict(), out / "result.pt")
        torch.save([dataclasses.asdict(point) for point in trainer.curve], out / "curve.pt")


@pytest.fixture(scope="module")
def two(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left; torchrun finds a free port for them and keeps it."""
    out = tmp_path_factory.mktemp("two")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2")
    command = [sys.executable, *torchrun, __file__, str(root), str(out)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{SUPPORT}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_two_processes_give_the_weights_of_one_with_the_batch_doubled(two: Path, data: Ucf101, tmp_path: Path) -> None:
    """4 clips in each of two processes, 8 in one: gradients, norm statistics, mixing and running mean are shared.

    In float64, since sums over processes are rounded in another order than sums over a batch. What remains is largest
    in biases before a norm: their gradient is 0 but for rounding, about 1e-17, which AdamW divides by 1e-8.
    """
    one = new_trainer(data, FAST, dtype=torch.float64)
    untrained = new_trainer(data, FAST, dtype=torch.float64).model
    for _ in range(EPOCHS):
        one.run_epoch(QUIET)
    assert largest_difference(one.model.head.fc, untrained.head.fc) > 1e-2
    for name, expected in (("rank0.pt", one.model), ("rank1.pt", one.model), ("result.pt", one.result)):
        found = SVFormer(CONFIG).double()
        found.load_state_dict(torch.load(two / name))
        assert largest_difference(found, expected) < TOLERANCE, name
    for found_point, point in zip(torch.load(two / "curve.pt"), one.curve, strict=True):
        assert found_point["loss"] == pytest.approx(point.loss, rel=TOLERANCE)
        assert (found_point["step"], found_point["train_top1"]) == (point.step, point.train_top1)

    resumed = new_trainer(data, FAST, dtype=torch.float64)  # two began, one goes on
    resumed.load(two / "state.pt")
    resumed.run_epoch(QUIET)
    assert largest_difference(resumed.model, one.model) < TOLERANCE


def test_the_processes_hold_the_same_weights_bit_for_bit(two: Path) -> None:
    first, second = (torch.load(two / f"rank{rank}.pt") for rank in range(2))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_synchronised_norms_keep_names_parameters_and_evaluation() -> None:
    torch.manual_seed(0)
    model, clip = SVFormer(CONFIG).eval(), torch.randn(2, 3, 4, 32, 32)
    names, weight, expected = list(model.state_dict()), model.stem.norm.weight, model(clip)
    synchronise_norms(model)
    assert list(model.state_dict()) == names
    assert model.stem.norm.weight is weight
    assert isinstance(model.stem.norm, TimeNorm)
    assert torch.equal(model(clip), expected)  # alone, without any other process
    plain = [m for m in model.modules() if type(m) in (TimeNorm, nn.BatchNorm3d)]
    assert plain == []


# Parts of a batch


def test_accumulated_gradients_are_the_mean_of_the_parts(data: Ucf101) -> None:
    whole = new_trainer(data, dataclasses.replace(RECIPE, accumulate=2))
    parts = list(whole.batches(0))[:2]
    assert [len(labels) for _, labels in parts] == [4, 4]
    expected = []
    for part in parts:
        alone = new_trainer(data)
        alone.model.train()
        loss, _ = alone.loss_and_hits(*part, None)
        loss.backward()
        expected.append([p.grad.clone() for p in alone.model.parameters() if p.grad is not None])
    whole.model.train()
    loss, _ = whole.train_step(iter(parts)).tolist()
    norm = torch.cat([(a + b).flatten() / 2 for a, b in zip(*expected, strict=True)]).norm()
    scale = min(1.0, RECIPE.gradient_norm / float(norm))
    for parameter, a, b in zip(whole.model.parameters(), *expected, strict=True):
        torch.testing.assert_close(parameter.grad, scale * (a + b) / 2, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(CONFIG, norm="per_step")], ids=["shared", "per_step"])
def test_activations_computed_twice_change_no_bit(config: SVFormerConfig, data: Ucf101) -> None:
    def trained(checkpoint_activations: bool) -> SVFormer:
        torch.manual_seed(0)
        trainer = Trainer(SVFormer(config), data, RECIPE, checkpoint_activations=checkpoint_activations)
        trainer.run_epoch(QUIET)
        return trainer.model

    kept, twice = trained(False), trained(True)
    for name, tensor in kept.state_dict().items():
        assert torch.equal(twice.state_dict()[name], tensor), name
    assert int(twice.stem.norm.num_batches_tracked) == 3


def saved_bytes(trainer: Trainer) -> int:
    """What the backward pass of one batch keeps."""
    sizes = dict[int, int]()

    def keep(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    trainer.model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss, _ = trainer.loss_and_hits(*next(trainer.batches(0)), None)
    assert loss.requires_grad
    return sum(sizes.values())


def test_activations_computed_twice_take_less_memory(data: Ucf101) -> None:
    assert saved_bytes(new_trainer(data, checkpoint_activations=True)) < saved_bytes(new_trainer(data)) / 2


# Precision


def test_bf16_trains_with_potentials_and_weights_in_fp32(data: Ucf101) -> None:
    trainer = new_trainer(data, dataclasses.replace(RECIPE, precision="bf16"))
    seen = dict[str, set[torch.dtype]]()

    def look(name: str) -> Any:
        return lambda _module, inputs, output: seen.setdefault(name, set()).update((inputs[0].dtype, output.dtype))

    for name, module in trainer.model.named_modules():
        if name in ("stem.conv", "stem.norm", "stage3.block0.attn.plif_proj", "head.plif", "head.fc"):
            module.register_forward_hook(look(name))
    point = trainer.run_epoch(QUIET)
    assert torch.bfloat16 in seen["stem.conv"]
    for name in ("stem.norm", "stage3.block0.attn.plif_proj", "head.plif"):
        assert seen[name] == {torch.float32}, name
    assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())
    full = new_trainer(data).run_epoch(QUIET)
    assert point.loss == pytest.approx(full.loss, rel=0.05)  # two or three digits of bfloat16, and other spikes
    assert point.loss != full.loss


def test_weights_of_few_bits_are_not_trained_in_bf16(data: Ucf101) -> None:
    model = SVFormer(dataclasses.replace(CONFIG, weight_bits=4))
    with pytest.raises(InputError, match="weights of few bits are rounded in fp32"):
        Trainer(model, data, dataclasses.replace(RECIPE, precision="bf16"))


# Launchers

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_JOB_ID": "1000042",
}


def test_a_process_on_its_own() -> None:
    assert launched({}) == {}
    assert launched({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) == {}  # a batch script, no srun
    assert launched({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}) == {}
    with joined("cpu") as processes:
        assert processes == Processes(count=1, rank=0, device=torch.device("cpu"))
        assert processes.writes
        assert processes.total(torch.tensor([3.0])).tolist() == [3.0]
        with processes.first_alone():
            pass


def test_torchrun_and_srun_say_where_a_process_is() -> None:
    assert launched({**TORCHRUN, "HOME": "/"}) == TORCHRUN
    expected = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu03", "MASTER_PORT": "20042"}
    assert launched(SRUN) == expected  # port: 20000 + 1000042 modulo 20000
    assert launched({**SRUN, "MASTER_ADDR": "ib-gpu03"}) == {**expected, "MASTER_ADDR": "ib-gpu03"}
    assert launched({**SRUN, **TORCHRUN}) == TORCHRUN  # srun that starts torchrun


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu7", "gpu7"),
        ("gpu[003-006,009],login1", "gpu003"),
        ("gpu[3,5]", "gpu3"),
        ("a,b", "a"),
        ("rack[1-2]-ib,other", "rack1-ib"),
    ],
)
def test_the_first_node_of_a_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_a_list_without_a_node_is_refused() -> None:
    with pytest.raises(InputError, match="no node in it; set MASTER_ADDR"):
        first_host("[1-2]")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device(None) == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="--device cuda: torch finds 0 GPUs here"):
        choose_device("cuda")
    with pytest.raises(InputError, match="--device abacus: torch knows no such device; allowed: cpu, cuda, cuda:N"):
        choose_device("abacus")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [choose_device(None, local_rank=rank).index for rank in range(5)] == [0, 1, 2, 3, 0]
    assert choose_device("cuda:2", local_rank=1) == torch.device("cuda", 2)
    with pytest.raises(InputError, match="torch finds 4 GPUs here; allowed: cpu, or cuda:0 to cuda:3"):
        choose_device("cuda:4")


if __name__ == "__main__":
    work(Path(sys.argv[1]), Path(sys.argv[2]))
