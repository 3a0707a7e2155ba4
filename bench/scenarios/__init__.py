from . import limits, memory, restore, upload  # noqa: F401  (register themselves)
from .registry import SCENARIOS, Skipped  # noqa: F401
