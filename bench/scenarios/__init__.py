from . import endurance, limits, memory, micro, real, restore, upload  # noqa: F401  (register themselves)
from .registry import SCENARIOS, Skipped  # noqa: F401
