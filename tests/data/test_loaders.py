"""Processes that read clips: their batches arrive, and nothing of theirs lies in the folder for temporary files."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from processes import run_python
from svformer.data.loaders import begin_loader

READS = """
    import os, sys, tempfile
    from pathlib import Path
    import torch
    from torch.utils.data import DataLoader, TensorDataset
    from svformer.data.loaders import begin_loader

    clips = torch.arange(40.0).reshape(20, 2)
    loader = DataLoader(TensorDataset(clips), batch_size=2, num_workers=1, worker_init_fn=begin_loader)
    found = []
    for batch, in loader:
        found.append(batch)
        assert not list(Path(tempfile.gettempdir()).iterdir())
    assert torch.equal(torch.cat(found), clips)
    print("read")
"""


def test_loaders_make_no_temporary_folder(tmp_path: object) -> None:
    done = run_python(READS, TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout.strip()) == (0, "read"), done.stderr


def test_several_loaders_do_not_meet() -> None:
    clips = torch.arange(30.0).reshape(10, 3)
    loader = DataLoader(TensorDataset(clips), batch_size=1, num_workers=2, worker_init_fn=begin_loader)
    assert torch.equal(torch.cat([batch for (batch,) in loader]), clips)
