"""Defaults of the passes that command lines name too; this file imports nothing, so that `--help` answers at once."""

DEFAULT_MERGE = "cmos45_fp32"  # the convention of SNN papers
