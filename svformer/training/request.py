"""What `svformer.train` and `svformer.fold_time` are asked for, as values; nothing here takes long to import."""

from dataclasses import dataclass, field
from pathlib import Path

from svformer.common.errors import InputError
from svformer.common.files import require_new
from svformer.common.options import at_least, between, positive_float, positive_int
from svformer.config import PRESETS, TRAINED, WEIGHT_BITS, Activation, Attention, Model, Norm
from svformer.data.choice import DatasetChoice
from svformer.training.recipe import Recipe, preset_recipe

STATE = "state.pt"  # in the out folder: what --resume goes on from
PAGE = "run.html"  # there: what to look at
BEST = "best.safetensors"  # there: the network of the epoch with the highest held-out accuracy (--evaluate-every)
CALIBRATION_CLIPS = 256
CONVERSION_CLIPS = 64
FINE_TUNING_LR = 1e-4  # peak, after folding; from scratch it is 4e-3

WIDTHS = between(WEIGHT_BITS[0], WEIGHT_BITS[-1])
COUNTS = at_least(0)


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """A network to train; raises `InputError`, in the words of the command line, for what does not go together."""

    preset: str = "tiny"  # of geometry and recipe
    recipe: Recipe | None = None  # None: the preset's, or that of fine-tuning with `qat`
    model: Model = "svformer"  # or a network that it is compared with, of the preset's widths (svformer/baselines/)
    norm: Norm | None = None  # None: the preset's
    activation: Activation | None = None  # None: the preset's
    attention: Attention | None = None  # None: the preset's
    head_dim: int | None = None  # channels of an attention head; None: the preset's
    qat: bool = False  # fine-tune a trained network with rounded weights
    weight_bits: int | None = None  # with sign, with `qat` only; None: the widest
    init: Path | None = None  # trained network to start from; None: random weights, with `qat` the one that ships
    dataset: DatasetChoice = field(default_factory=DatasetChoice)
    out: Path | None = None  # folder for the results; None: runs/PRESET, PRESET_MODEL or PRESET_qatN there
    resume: bool = False  # go on where an earlier run in `out` stopped
    force: bool = False  # start anew in an `out` that holds a run
    save_every: int = 0  # steps after which the state is saved, besides after every epoch; 0: never
    evaluate_every: int = 0  # epochs after which held-out accuracy joins the curve, besides the last; 0: never
    dry_run: bool = False  # estimate memory and time, train nothing
    loaders: int | None = None  # processes that read clips; None: one a core with augmentation, else this process
    checkpoint_activations: bool = False  # compute activations twice: less memory, more time
    device: str | None = None  # None: a GPU where torch can use one
    command: str = "svformer.training.session.run"  # how it was asked for, for the record

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"--preset {self.preset}: no such preset; allowed: {', '.join(sorted(PRESETS))}")
        if self.model not in TRAINED:
            raise InputError(f"--model {self.model}: no such network; allowed: {', '.join(TRAINED)}")
        self._check_model()
        WIDTHS.check("--weight-bits", self.weight_bits)
        positive_int.check("--head-dim", self.head_dim)
        COUNTS.check("--save-every", self.save_every)
        COUNTS.check("--evaluate-every", self.evaluate_every)
        COUNTS.check("--loaders", self.loaders)
        self._check_start()
        self._check_qat()
        self._check_out()

    def _check_start(self) -> None:
        geometry = {
            "--norm": self.norm,
            "--activation": self.activation,
            "--attention": self.attention,
            "--head-dim": self.head_dim,
        }
        given = [option for option, value in geometry.items() if value]
        if given and (self.qat or self.init):
            raise InputError(f"{', '.join(given)}: a trained network has its geometry; leave it out")

    def _check_model(self) -> None:
        if self.model == "svformer":
            return
        given = {
            "--norm": self.norm,
            "--activation": self.activation,
            "--attention": self.attention,
            "--qat": self.qat,
            "--init": self.init,
            "--checkpoint-activations": self.checkpoint_activations,
        }
        if found := [option for option, value in given.items() if value]:
            raise InputError(f"{', '.join(found)}: of SVFormer alone; leave it out with --model {self.model}")

    def _check_qat(self) -> None:
        if not self.qat and self.weight_bits is not None:
            raise InputError(f"--weight-bits {self.weight_bits} belongs to --qat; add it, or leave this out")
        ships = (self.preset, self.dataset.name) == ("tiny", "procedural")
        if self.qat and self.init is None and not ships:
            raise InputError(
                f"--qat starts from a trained network, and none ships for preset {self.preset} on "
                f"{self.dataset.name}; train one without --qat, then give it as --init FILE"
            )

    def _check_out(self) -> None:
        """Refuse a folder that holds a run which is neither resumed nor given up, and one without a run to resume."""
        exists = (self.folder / STATE).exists()
        if self.resume and not exists and not self.dry_run:
            raise InputError(f"{self.folder / STATE}: nothing to resume; start without --resume")
        if exists and not (self.resume or self.force or self.dry_run):
            raise InputError(
                f"{self.folder}: holds a run; go on with --resume, choose another --out, or replace it with --force"
            )

    @property
    def bits(self) -> int | None:
        """Bits of the weights that are rounded in training; None: they are not."""
        return (self.weight_bits or WEIGHT_BITS[-1]) if self.qat else None

    @property
    def folder(self) -> Path:
        ending = "" if self.model == "svformer" else f"_{self.model}"
        return self.out or Path("runs") / (self.preset + ending + (f"_qat{self.bits}" if self.qat else ""))

    @property
    def chosen_recipe(self) -> Recipe:
        return self.recipe or preset_recipe(self.preset, qat=self.qat)


@dataclass(frozen=True, kw_only=True)
class FoldingRequest:
    """A network whose norms become one set for all time steps; raises `InputError` for what cannot be done."""

    checkpoint: Path
    out: Path  # .safetensors; a .json with the figures goes beside it
    head_dim: int = 64  # of an authors' .pyth
    dataset: DatasetChoice = field(default_factory=DatasetChoice)
    calibration_clips: int = CALIBRATION_CLIPS  # at most, of the training part
    epochs: int = 0  # of fine-tuning after folding
    lr: float = FINE_TUNING_LR  # peak rate of fine-tuning
    batch_size: int = Recipe.batch_size
    force: bool = False  # overwrite `out`
    command: str = "svformer.training.folding.run"  # how it was asked for, for the record

    def __post_init__(self) -> None:
        positive_int.check("--calibration-clips", self.calibration_clips)
        positive_int.check("--batch-size", self.batch_size)
        COUNTS.check("--epochs", self.epochs)
        positive_float.check("--lr", self.lr)
        if self.out.suffix != ".safetensors":
            raise InputError(f"{self.out}: allowed: a name that ends in .safetensors")
        require_new(self.out, self.out.with_suffix(".json"), force=self.force)


@dataclass(frozen=True, kw_only=True)
class ConversionRequest:
    """A trained 2-D CNN that becomes a spiking network; raises `InputError` for what cannot be done."""

    checkpoint: Path
    out: Path  # .safetensors; a .json with the figures goes beside it
    steps: int = 8  # time steps that a frame is shown
    dataset: DatasetChoice = field(default_factory=DatasetChoice)
    calibration_clips: int = CONVERSION_CLIPS  # at most, of the training part
    force: bool = False  # overwrite `out`
    command: str = "svformer.training.converting.run"  # how it was asked for, for the record

    def __post_init__(self) -> None:
        positive_int.check("--steps", self.steps)
        positive_int.check("--calibration-clips", self.calibration_clips)
        if self.out.suffix != ".safetensors":
            raise InputError(f"{self.out}: allowed: a name that ends in .safetensors")
        require_new(self.out, self.out.with_suffix(".json"), force=self.force)
