"""Files that ship with the project: the trained tiny networks and a few short videos of procedural clips."""

from pathlib import Path

_HERE = Path(__file__).parent

TINY_CHECKPOINT = _HERE / "tiny" / "checkpoint.safetensors"
CHIP_CHECKPOINT = _HERE / "chip" / "checkpoint.safetensors"  # of preset chip: heads of one channel
DEMO_CLIPS = _HERE / "clips" / "held_out"  # clips that training did not use; UCF101's names, a folder for each class
CALIBRATION_CLIPS = _HERE / "clips" / "calibration"  # clips of the training groups
