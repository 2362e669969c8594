"""What the processes do first that read clips for a `DataLoader`."""

from multiprocessing.util import get_temp_dir


def begin_loader(number: int) -> None:
    """A `worker_init_fn`: the process makes its temporary folder now, and takes it away when it ends.

    Tensors are sent through a socket in that folder, by a thread that would make it while the process already ends
    because its parent was killed; then it would stay.
    """
    get_temp_dir()
