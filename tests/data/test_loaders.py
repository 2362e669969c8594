"""Processes that read clips: their batches arrive, and nothing of theirs lies in the folder for temporary files."""

from pathlib import Path

import torch
from torch.utils.data import TensorDataset

from processes import run_python
from svformer.data.loaders import batches

READS = """
    import os, sys, tempfile
    from pathlib import Path
    import torch
    from torch.utils.data import TensorDataset
    from svformer.data.loaders import batches

    clips = torch.arange(40.0).reshape(20, 2)
    found = []
    for batch, in batches(TensorDataset(clips), batch_size=2, num_workers=1):
        found.append(batch)
        assert not list(Path(tempfile.gettempdir()).iterdir())
    assert torch.equal(torch.cat(found), clips)
    print("read")
"""


def test_loaders_make_no_temporary_folder(tmp_path: Path) -> None:
    done = run_python(READS, TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout.strip()) == (0, "read"), done.stderr


def test_several_loaders_do_not_meet() -> None:
    clips = torch.arange(30.0).reshape(10, 3)
    found = [batch for (batch,) in batches(TensorDataset(clips), batch_size=1, num_workers=2)]
    assert torch.equal(torch.cat(found), clips)


FULL = """
    import os, sys
    from pathlib import Path
    import torch
    from torch.utils.data import Dataset
    from svformer.data import loaders

    loaders.SHARED_MEMORY = Path(sys.argv[1])

    class Left(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            (loaders.SHARED_MEMORY / f"torch_{os.getpid()}_1_{index}").touch()
            return torch.zeros(2)

    (loaders.SHARED_MEMORY / "torch_1_1_1").touch()  # of another process
    list(loaders.batches(Left(), num_workers=1))
"""


def test_a_loader_takes_segments_that_torch_left_with_it(tmp_path: Path) -> None:
    done = run_python(FULL, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["torch_1_1_1"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from torch.utils.data import Dataset
    from svformer.data import loaders

    loaders.SHARED_MEMORY = Path(sys.argv[1])

    class Killed(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            (loaders.SHARED_MEMORY / f"torch_{os.getpid()}_1_1").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    (loaders.SHARED_MEMORY / "torch_1_1_1").touch()  # of another process
    try:
        list(loaders.batches(Killed(), num_workers=1))
    except RuntimeError as error:
        print(error)
"""


def test_segments_of_a_reader_that_was_killed_are_removed(tmp_path: Path) -> None:
    done = run_python(KILLED, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "DataLoader worker" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["torch_1_1_1"]
