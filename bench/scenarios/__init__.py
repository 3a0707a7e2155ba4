from . import endurance, limits, memory, micro, real, restore, stages, upload  # noqa: F401  (register themselves)
from .registry import SCENARIOS, Skipped  # noqa: F401
