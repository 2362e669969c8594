"""What a deployment is asked for, as values: what `run_lava.py` reads from its command line and a notebook writes down.

    request = Request(clips=["my.mp4"], out="runs/my")      # refused here where it contradicts itself
    outcome = deploy.run(request, print)                    # refused before the long work where files do not fit

A path may be a string. `deploy.session` carries a request out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploy.arguments import KEPT_CLIPS, WIDTHS, Check
from deploy.exchange.endings import ENDINGS, NETX
from deploy.execution.backends import BACKENDS, BLOCKS, BOARDS, MODELS, Blocks, Models
from deploy.execution.trust import require_trusted
from deploy.ir.dialects import CHOICES, DIALECT, DIALECTS
from deploy.ir.machine import WEIGHT_BITS
from deploy.ir.readout import READOUT, READOUTS
from deploy.ir.whole import RESULT
from deploy.passes.defaults import DEFAULT_MERGE, FORMS, Form
from hardware.spread import ORDERS, Order
from svformer.common.errors import InputError
from svformer.common.files import require_new
from svformer.common.options import positive_fps, positive_int, positive_ms, positive_seconds
from svformer.data.choice import Binning, DatasetChoice

TARGETS = (*BACKENDS, *BOARDS)
DEMO, ESTIMATE = Path("runs/demo"), Path("runs/estimate")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A network to run on clips; raises `InputError`, in the words of the command line, for what contradicts itself."""

    nir: str | Path | None = None  # network to run; None: the shipped checkpoint, exported first
    net: str | Path | None = None  # network of lava-dl (.net) to run in its place, as the integers that it holds
    dt_s: float | None = None  # length of a time step in seconds, for a file that does not say (or another length)
    readout: str | None = None  # what of the output is the result (`deploy.ir.readout`); None: as the graph says
    result: str | None = None  # Output of `nir` whose value is the result of a clip; None: the first
    dialect: str | None = None  # framework that wrote the file (`deploy.ir.dialects`); None: as the graph says
    reset: str | None = None  # how its neurons reset; None: as the dialect says
    loop_delay: bool = False  # whether loops that are faster than their synapses get the time steps that they lack
    clips: Sequence[str | Path] = ()  # files to run
    labels: str | Path | None = None  # table of the clips' classes: rows of file name and class
    calibrate: Sequence[str | Path] = ()  # files to choose scales by; none: the clips, or what ships with SVFormer
    events_by: Binning | None = None  # how recordings of events among `clips` become frames; None: by their count
    frames: int | None = None  # of videos and recordings of events, for a network that says no T (or another number)
    bin_ms: float | None = None  # milliseconds of events in a frame, as many frames as it takes
    sensor: tuple[int, int] | None = None  # width and height of the camera's picture in pixels, of events
    dataset: DatasetChoice | None = None  # data set to run; without it and without clips: the videos that ship
    limit: int | None = None  # clips of the data set, spread over its classes; None: all
    views: tuple[int, int] = (1, 1)  # temporal x spatial views of every clip
    weight_bits: int = WEIGHT_BITS  # sign included
    fine_layers: int = 0  # of the first layers, whose weights are held by two synapses each
    tune: int = 0  # epochs in which weights and biases are trained in integers; 0: they stay as they were rounded
    merge: str = DEFAULT_MERGE  # name or file of the chip that decides which convolutions merge; "always", "never"
    form: Form | None = None  # "chip": of what a Loihi 2 holds; None: "fused", but "chip" on a board
    backend: str = "lava"  # one of `deploy.execution.backends`, or a board
    blocks: Blocks | None = None  # Lava's processes (`RunOptions`); None: "fused", but "chip" with the chip form
    models: Models = "fast"  # what runs Lava's own processes; "lava": Lava's models
    processes: int = 1  # of Lava, which share the layers
    timeout_s: float | None = None  # seconds that one batch of clips may take on Lava; None: no limit
    workers: int | None = None  # processes of this machine that share the clips; None: this process alone
    scheduler: str | None = None  # address of a dask scheduler whose workers share the clips
    insecure: bool = False  # whether `scheduler` may be on another machine without TLS, in a network that is trusted
    chips: Sequence[str | Path] = ()  # chip files of the user's own, priced beside those that ship
    reference: str | Path | None = None  # spikes of another simulator to compare with
    place: Order = "pixel"  # how neurons are dealt out over cores, for energy and time of the placed network
    fps: float | None = None  # frames of a video a second, at which static energy is stated; None: 30
    max_cores: int | None = None  # of Loihi 2, by placement; a network that takes more is refused. None: any number
    write_integer: str | Path | None = None  # file for the integer network: .nir, or .net for lava-dl's netx
    cache: bool = True  # take what an earlier run has quantised with the same clips, options and code; keep it if not
    check: Check | None = None  # clips that the interpreters run, too (`deploy.execution.checked`)
    keep_clips: int | Literal["all"] | None = None  # whose spikes spikes.h5 holds, the first; None: KEPT_CLIPS
    estimate: bool = False  # plan and fit alone, nothing is simulated
    out: str | Path | None = None  # folder for the results; None: runs/demo, /clips, /DATASET or /estimate
    resume: bool = False  # go on where an earlier run in `out` stopped
    force: bool = False  # replace the results of an earlier run in `out`

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_choices()
        if self.clips and self.dataset:
            raise InputError("--clip and --dataset are both given; choose one")
        self._check_network()
        if self.limit is not None and not self.dataset:
            raise InputError(f"--limit {self.limit}; allowed: 1 or more, together with --dataset")
        if self.labels and not self.clips:
            raise InputError("--labels is for --clip, a data set has classes of its own; leave it out")
        if self.frames and self.bin_ms:
            raise InputError("--frames and --bin-ms are both given; choose one")
        if self.events_by and self.bin_ms:
            raise InputError("--events-by and --bin-ms are both given; choose one")
        if self.events_by and not self.clips:
            raise InputError("--events-by is given without recordings of events; leave it out")
        if self.workers is not None and self.scheduler is not None:
            raise InputError("--workers and --scheduler are both given; choose one")
        for name in ("workers", "scheduler", "resume", "keep_clips", "check"):
            if getattr(self, name) and not self.simulates:
                raise InputError(f"--{name.replace('_', '-')} is for runs on Lava or the integers; leave it out")
        if self.tune and not (self.dataset or self.calibrate):
            raise InputError(
                "--tune takes clips that are not run; give --dataset with a training part, or --calibrate FILES"
            )
        self._check_file()

    def _check_file(self) -> None:
        """The file for the integers: an ending that says what is written, and nothing in the way."""
        if self.write_integer is None:
            return
        path = Path(self.write_integer)
        if path.suffix not in ENDINGS:
            raise InputError(f"--write-integer {path}; allowed: a name that ends in {' or '.join(ENDINGS)}")
        if path.exists() and not self.force:
            raise InputError(f"{path}: exists; choose another --write-integer, or --force to overwrite it")

    def _check_network(self) -> None:
        """What is said of a file is for one alone."""
        if self.net is not None:
            if self.nir is not None:
                raise InputError("--nir and --net are both given; choose one")
            self.require_no_choices(self.net)
            return
        if self.nir is not None:
            return
        if self.dt_s is not None:
            raise InputError("--dt is for --nir, the shipped network says its time step; leave it out")
        if self.result is not None:
            raise InputError("--output is for --nir, the shipped network has one Output; leave it out")
        if self.loop_delay:
            raise InputError("--loop-delay is for --nir, the shipped network has no loops; leave it out")
        for option, value in (("--from", self.dialect), ("--reset", self.reset)):
            if value is not None:
                raise InputError(f"{option} is for --nir, the shipped network says what it means; leave it out")

    def require_no_choices(self, file: str | Path) -> None:
        """Raise `InputError` for what would choose or change the integers of a file, which are taken as they are."""
        given = {
            "--calibrate": bool(self.calibrate),
            "--weight-bits": self.weight_bits != WEIGHT_BITS,
            "--merge": self.merge != DEFAULT_MERGE,
            "--from": self.dialect is not None,
            "--reset": self.reset is not None,
            "--output": self.result is not None,
            "--loop-delay": self.loop_delay,
            "--fine-layers": bool(self.fine_layers),
            "--tune": bool(self.tune),
        }
        if refused := [option for option, said in given.items() if said]:
            raise InputError(f"{', '.join(refused)}: {file} holds integers, taken as they are; leave it out")

    def _check_numbers(self) -> None:
        for option, count in (("--limit", self.limit), ("--processes", self.processes), ("--workers", self.workers)):
            positive_int.check(option, count)
        positive_int.check("--frames", self.frames)
        positive_ms.check("--bin-ms", self.bin_ms)
        if self.sensor and min(self.sensor) < 1:
            raise InputError(f"--sensor {self.sensor[0]}x{self.sensor[1]}; allowed: width x height in pixels")
        positive_seconds.check("--dt", self.dt_s)
        positive_seconds.check("--timeout", self.timeout_s)
        positive_int.check("--max-cores", self.max_cores)
        positive_fps.check("--fps", self.fps)
        WIDTHS.check("--weight-bits", self.weight_bits)
        if isinstance(self.check, int):
            positive_int.check("--check", self.check)
        if self.keep_clips != "all":
            positive_int.check("--keep-clips", self.keep_clips)
        positive_int.check("--tune", self.tune or None)
        positive_int.check("--fine-layers", self.fine_layers or None)
        if min(self.views) < 1:
            raise InputError(f"--views {self.views[0]}x{self.views[1]}; allowed: temporal x spatial counts from 1")

    def _check_choices(self) -> None:
        for option, found, allowed in (
            ("--backend", self.backend, TARGETS),
            ("--blocks", self.blocks, BLOCKS),
            ("--models", self.models, MODELS),
            ("--form", self.form, FORMS),
            ("--readout", self.readout, READOUTS),
            ("--from", self.dialect, tuple(DIALECTS)),
            ("--reset", self.reset, CHOICES["reset"]),
            ("--place", self.place, ORDERS),
        ):
            if found is not None and found not in allowed:
                raise InputError(f"{option} {found}; allowed: {', '.join(allowed)}")
        if self.blocks == "chip" and self.chosen_form != "chip":
            raise InputError("--blocks chip: Lava's own processes alone hold the chip form; add --form chip")
        if self.blocks == "stock" and self.chosen_form == "chip":
            raise InputError("--blocks stock with --form chip; allowed: fused, or chip, which is Lava's own processes")
        if self.form == "fused" and self.backend in BOARDS:
            raise InputError(
                f"--form fused with --backend {self.backend}: a board holds the chip form alone; leave it out"
            )
        if self.scheduler == "":
            raise InputError("--scheduler '': allowed: the address of a dask scheduler, tcp://HOST:8786")
        if self.insecure and not self.scheduler:
            raise InputError("--insecure is for --scheduler; leave it out")
        if self.scheduler and not self.insecure:
            require_trusted(self.scheduler)

    @property
    def said(self) -> dict[str, object]:
        """Metadata that the network's graph has in place of its own."""
        said = {
            "dt": self.dt_s,
            READOUT: self.readout,
            RESULT: self.result,
            DIALECT: self.dialect,
            "reset": self.reset,
            "stride": self.dataset.stride if self.dataset else None,
        }
        return {key: value for key, value in said.items() if value is not None}

    @property
    def for_netx(self) -> bool:
        """Whether the integers are written for lava-dl's netx, so that they have to be of what it holds."""
        return self.write_integer is not None and Path(self.write_integer).suffix == NETX

    @property
    def chosen_merge(self) -> str:
        """What decides which convolutions merge: for netx, which has no relays, all do where nothing else is said."""
        return "always" if self.for_netx and self.merge == DEFAULT_MERGE else self.merge

    @property
    def simulates(self) -> bool:
        """Whether clips run on Lava or in the integer interpreter, so that there are batches and a full report."""
        return not self.estimate and self.backend not in BOARDS

    def kept_of(self, clips: int) -> int:
        """Clips whose spikes are kept, of so many."""
        return clips if self.keep_clips == "all" else min(self.keep_clips or KEPT_CLIPS, clips)

    @property
    def chosen_form(self) -> Form:
        """The form in which the network is run."""
        return self.form or ("chip" if self.backend in BOARDS else "fused")

    @property
    def chosen_blocks(self) -> Blocks:
        """The processes that run it on Lava."""
        return self.blocks or ("chip" if self.chosen_form == "chip" else "fused")

    @property
    def folder(self) -> Path:
        """`out`, or the folder of the demo, of clips, of a data set, or of estimates, whose report has no page."""
        if self.out is not None:
            return Path(self.out)
        if self.estimate:
            return ESTIMATE
        if self.dataset:
            return Path("runs") / self.dataset.name
        return Path("runs/clips") if self.clips else DEMO

    @property
    def replaces(self) -> bool:
        """Whether results that lie in the folder may be replaced: where the user says so, and in the folders of the
        demo and of estimates, which take seconds, unless the user has named the folder.
        """
        return self.force or (self.out is None and self.folder in (DEMO, ESTIMATE))


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """A network to write as a NIR file; raises `InputError` for a contradiction, and for a file in the way."""

    checkpoint: str | Path | None = None  # None: the one that ships
    head_dim: int = 64  # channels of a head, of an authors' .pyth
    model: str | None = None  # MODULE:FUNCTION or FILE.py:FUNCTION that builds a model of the user's own
    weights: str | Path | None = None  # of that model: .safetensors, or what torch.save wrote
    example: str | Path | None = None  # of its input: .npy or .pt; None: what the function returns with the model
    axes: str | None = None  # of its input, a letter each: T time, B batch, C H W (or N)
    out: str | Path | None = None  # file to write; None: runs/model.nir, or runs/portable.nir
    force: bool = False  # overwrite `out`; the shipped network's file is written anew where the user names none
    portable: bool = False  # only nodes that stock simulators import
    dt_s: float | None = None  # length of a time step of the portable file in seconds; None: that of the model's file
    max_neurons: int | None = None  # of the portable file, which is refused above it; None: MAX_NEURONS

    def __post_init__(self) -> None:
        positive_int.check("--head-dim", self.head_dim)
        positive_seconds.check("--dt", self.dt_s)
        positive_int.check("--max-neurons", self.max_neurons)
        if not self.portable and (self.dt_s is not None or self.max_neurons is not None):
            raise InputError("--dt and --max-neurons are for --portable; leave them out, or add it")
        self._check_model()
        require_new(self.file, force=self.force or self._shipped)

    @property
    def _shipped(self) -> bool:
        """Whether the network that ships is written to where it usually lies."""
        return self.out is None and self.checkpoint is None and self.model is None

    def _check_model(self) -> None:
        """A model of the user's own stands alone, and says what the axes of its input are."""
        given = [name for name in ("weights", "example", "axes") if getattr(self, name) is not None]
        if self.model is None and given:
            raise InputError(f"--{given[0]} is for --model; leave it out, or add it")
        if self.model is not None and self.axes is None:
            raise InputError(
                "--model without --axes; add what the axes of its input are, a letter each: TBCHW, BCHW, .."
            )
        if self.model is not None and (self.checkpoint is not None or self.portable):
            raise InputError("--checkpoint and --portable are for an SVFormer; leave them out with --model")

    @property
    def file(self) -> Path:
        return Path(self.out or ("runs/portable.nir" if self.portable else "runs/model.nir"))
