"""Names of steps and defaults of the passes, for command lines too; nothing here takes long to import."""

from typing import Literal, get_args

DEFAULT_MERGE = "loihi1"  # Loihi 2, which is simulated, has no published energy of an operation
Step = Literal["read", "rate", "lower", "calibrate", "quantize", "tune", "prove", "compare", "form", "schedule"]
STEP_NAMES: tuple[Step, ...] = get_args(Step)  # of `deploy.pipeline.STEPS`, in order
Form = Literal["fused", "chip"]  # "chip": of what a Loihi 2 holds (`deploy.passes.chip_form`)
FORMS: tuple[Form, ...] = get_args(Form)
