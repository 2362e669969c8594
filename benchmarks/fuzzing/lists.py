"""Labels of clips, and lists of data sets in their official forms."""

from pathlib import Path
from random import Random

from deploy.clips.labels import with_labels
from deploy.clips.source import ClipSource
from fuzzing import odd
from fuzzing.kind import Kind
from svformer.data.catalogue import open_dataset
from svformer.data.choice import DatasetChoice


def make_list(rng: Random, folder: Path) -> None:
    """A small data set whose lists, labels or class files are odd."""
    form = rng.choice(("labels", "ucf101", "jhmdb", "dvs", "folder"))
    if form == "labels":
        rows = [f"a.npy,{rng.choice(('0', 'b', '', '-1', '1e9'))}", f"b.npy,{rng.choice(odd.NAMES)}", "c.npy;2"]
        _write(rng, folder / "labels.csv", "\n".join(rng.sample(rows, rng.randrange(1, 4))))
        return
    video = folder / ("brush_hair" if form == "jhmdb" else "A") / "v_A_g01_c01.avi"
    video.parent.mkdir()
    video.write_bytes(b"")
    if form == "ucf101":
        (folder / "ucfTrainTestlist").mkdir()
        _write(rng, folder / "ucfTrainTestlist" / "classInd.txt", "1 A\n2 B\n")
        _write(rng, folder / "ucfTrainTestlist" / "testlist01.txt", "A/v_A_g01_c01.avi\n")
        _write(rng, folder / "ucfTrainTestlist" / "trainlist01.txt", "A/v_A_g01_c01.avi 1\n")
    elif form == "jhmdb":
        (folder / "splits").mkdir()
        _write(rng, folder / "splits" / "brush_hair_test_split1.txt", "v_A_g01_c01.avi 1\nb.avi 2\n")
    elif form == "dvs":
        (folder / "DvsGesture").mkdir()
        (folder / "DvsGesture" / "user01_led.aedat").write_bytes(b"")
        _write(rng, folder / "DvsGesture" / "trials_to_test.txt", "user01_led.aedat\n")
        text = "class,startTime_usec,endTime_usec\n1,0,1000\n2,1000,2000\n"
        _write(rng, folder / "DvsGesture" / "user01_led_labels.csv", text)
    (folder / "form.txt").write_text(form)


def _write(rng: Random, path: Path, text: str) -> None:
    content = text.encode()
    if rng.random() < 0.5:
        content = odd.mutated(rng, content)
    if rng.random() < 0.05:
        content = rng.choice((b"", b"\x00" * 9, b"\xff\xfe" + content, content * 100))
    path.write_bytes(content)


def read_list(folder: Path) -> None:
    if (folder / "labels.csv").exists():
        with_labels([ClipSource(path=folder / f"{n}.npy", label=None) for n in "abc"], folder / "labels.csv")
        return
    names = {"ucf101": "ucf101", "jhmdb": "jhmdb", "dvs": "dvs128", "folder": "folder"}
    choice = DatasetChoice(name=names[(folder / "form.txt").read_text()], root=folder)
    open_dataset(choice, size=16, frames=2, train=False, cache=False)


KINDS = {"list": Kind(about="labels of clips, lists of data sets", make=make_list, read=read_list)}
