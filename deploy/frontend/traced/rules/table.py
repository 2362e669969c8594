"""What a rule is."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from deploy.frontend.traced.signals import Value

Result = Value | Tensor | list[Any] | tuple[Any, ...] | None
Rule = Callable[..., Result]  # walk, at, then the operation's arguments
