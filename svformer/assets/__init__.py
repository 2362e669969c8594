"""What ships with the project: the trained tiny network and a few real video files to show it."""

from pathlib import Path

_HERE = Path(__file__).parent

TINY_CHECKPOINT = _HERE / "tiny" / "checkpoint.safetensors"
DEMO_CLIPS = _HERE / "clips" / "held_out"  # never seen in training; UCF101's names, one folder a class
CALIBRATION_CLIPS = _HERE / "clips" / "calibration"  # from the training groups
