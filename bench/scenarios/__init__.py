# Each registers its scenarios; this is the order in which they run and are shown.
from . import upload, restore, sealed, index, files, real, limits, many, memory, endurance, stages, micro  # noqa: F401
from .registry import SCENARIOS, Skipped  # noqa: F401
