"""The networks of `precision_table.py`: checkpoints of SVFormer, and families of the zoo, which are trained briefly.

A checkpoint is said as NAME=FILE,DATASET or NAME=FILE,DATASET,DIR. Networks of the zoo are trained on the easy
procedural set (`zoo_training.py`) and kept in the out folder as NIR files, so they are trained once.
"""

from dataclasses import dataclass
from pathlib import Path

import nir
from zoo_models import FAMILIES
from zoo_training import trained_graph

from deploy.clips.choose import dataset_clips, spread
from deploy.clips.source import ClipSource
from deploy.execution.fingerprint import fingerprint
from deploy.frontend.export import export_checkpoint
from deploy.ir.graph import read_nir, write_nir
from svformer.assets import TINY_CHECKPOINT
from svformer.common.errors import InputError
from svformer.data.choice import DATASETS, PROCEDURAL, DatasetChoice, with_stride

SHIPPED, EASY = "tiny", "procedural"
BUILT_IN = (SHIPPED, *FAMILIES)
CALIBRATION = 16  # training clips that scales are chosen by, as `deploy.clips.choose.training_clips` takes


@dataclass(frozen=True, kw_only=True)
class Row:
    """A network that is asked for: a checkpoint, or a family of the zoo where it has none."""

    name: str
    dataset: DatasetChoice
    checkpoint: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with its clips."""

    graph: nir.NIRGraph
    clips: list[ClipSource]  # held out
    calibration: list[ClipSource]
    examples: list[ClipSource]  # training clips to tune on

    @property
    def digest(self) -> str:
        """Of the network and of all its clips."""
        graph = self.graph
        places = [[str(clip.path) for clip in some] for some in (self.clips, self.calibration, self.examples)]
        return fingerprint([graph.nodes, graph.edges, graph.metadata, places])


def row_of(text: str, root: Path | None = None) -> Row:
    """The row that a word of the command line names; `root` is the folder of the easy set (None: data/procedural).

    Raises `InputError` for a name that is not built in, a file that is not there and a data set that does not exist.
    """
    easy = DatasetChoice(name=EASY, root=root)
    if text == SHIPPED:
        return Row(name=text, dataset=easy, checkpoint=TINY_CHECKPOINT)
    if text in FAMILIES:
        return Row(name=text, dataset=easy)
    name, _, rest = text.partition("=")
    file, dataset, folder = (*rest.split(",", 2), "", "")[:3]
    if not name or dataset not in DATASETS:
        raise InputError(
            f"{text}; allowed: {', '.join(BUILT_IN)}, or NAME=FILE,DATASET or NAME=FILE,DATASET,DIR with a trained "
            f"checkpoint and a DATASET of {', '.join(DATASETS)}"
        )
    if not Path(file).is_file():
        raise InputError(f"{file}: no such checkpoint; `python -m svformer.train` makes one")
    given = folder or (root if dataset == EASY else None)
    if dataset not in PROCEDURAL and not given:
        raise InputError(f"{text}: {dataset} has no folder; write NAME=FILE,{dataset},DIR")
    return Row(name=name, dataset=DatasetChoice(name=dataset, root=given), checkpoint=Path(file))


def subject(row: Row, out: Path, *, limit: int, examples: int, epochs: int) -> Subject:
    """A row with at most `limit` held-out clips and `examples` training clips, both spread over the classes.

    A network of the zoo that does not lie in `out` is trained there first, for `epochs`.
    """
    graph = _graph(row, out, epochs)
    choice = with_stride(row.dataset, graph.metadata)
    training = dataset_clips(choice, train=True)
    return Subject(
        graph=graph,
        clips=spread(dataset_clips(choice, train=False), limit),
        calibration=spread(training, CALIBRATION),
        examples=spread(training, examples),
    )


def _graph(row: Row, out: Path, epochs: int) -> nir.NIRGraph:
    if row.checkpoint is not None:
        return export_checkpoint(row.checkpoint)[1]
    file = out / f"{row.name}_{epochs}_epochs.nir"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_nir(trained_graph(row.name, row.dataset, epochs=epochs), file)
    return read_nir(file)
