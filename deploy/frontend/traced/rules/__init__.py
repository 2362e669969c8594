"""One rule for each operation of core ATen: what it makes of the signals that enter it.

A rule takes the walk, where it stands, and the operation's arguments: signals in place of tensors; constants are
tensors. It raises `Refused` for what has no counterpart.
"""

from deploy.frontend.traced.rules import arithmetic, convolutions, layers, pooling, reduction, slices, views
from deploy.frontend.traced.rules.table import Rule

FILES = (views, slices, arithmetic, convolutions, layers, pooling, reduction)
RULES: dict[str, Rule] = {operation: rule for file in FILES for operation, rule in file.RULES.items()}
