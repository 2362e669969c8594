"""Networks that SVFormer is compared with: the same clips, recipes and commands, and about as many parameters.

Each file is one family in its simplest form, with the preset's widths and depths (`SVFormerConfig`). Signals inside are
[T, B, C, H, W], as in SVFormer: T time steps, B clips of a batch, C channels, H rows, W columns.
"""
