"""One rule for each operation of core ATen: what it makes of the signals that enter it.

A rule takes the walk, where it stands, and the operation's arguments: signals in place of tensors; constants are
tensors. It raises `Refused` for what has no counterpart.
"""

from deploy.frontend.traced.rules import arithmetic, layers, pooling, reduction, views
from deploy.frontend.traced.rules.table import Rule

RULES: dict[str, Rule] = {**views.RULES, **arithmetic.RULES, **layers.RULES, **pooling.RULES, **reduction.RULES}
