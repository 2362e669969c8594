"""What commands can leave on a machine, and places of one's own to look for it: a /dev/shm and small disks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_MB, DISK_MB = 64, 8
OWN_NAMESPACE = "SVFORMER_FAULTS_OWN_SHM"


def in_session(leader: int) -> dict[int, str]:
    """Processes that still run in the session of a command, and their command lines."""
    found = dict[int, str]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                words = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(stat.parent.name)] = words.decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
    return found


def processor_s(pid: int) -> float:
    """Processor time that a process has taken, its children aside; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_own_namespace() -> None:
    """Start again with a small /dev/shm and mounts of one's own, where that is allowed."""
    if OWN_NAMESPACE in os.environ or shutil.which("unshare") is None:
        return
    prepare = f'mount -t tmpfs -o size={SHARED_MEMORY_MB}m tmpfs {SHARED_MEMORY} && exec "$@"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", prepare, "sh"]
    if subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0:
        os.environ[OWN_NAMESPACE] = "1"
        os.execvp(words[0], [*words, sys.executable, *sys.argv])


def has_own_namespace() -> bool:
    return OWN_NAMESPACE in os.environ


def mounted(folder: Path) -> None:
    """Make a folder, and a small disk of its own of it where that is allowed."""
    folder.mkdir(parents=True)
    if has_own_namespace():
        options = ["-t", "tmpfs", "-o", f"size={DISK_MB}m"]
        subprocess.run(["mount", *options, "tmpfs", folder], check=True, capture_output=True)


def writable(folder: Path) -> None:
    if has_own_namespace():
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True, capture_output=True)


def unmounted(folder: Path) -> None:
    if has_own_namespace():
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


def segments() -> list[Path]:
    """Segments and semaphores that have a name, in a /dev/shm that nobody else uses; none elsewhere."""
    return sorted(SHARED_MEMORY.iterdir()) if has_own_namespace() else []
