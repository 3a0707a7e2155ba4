from . import limits, upload  # noqa: F401  (register themselves)
from .registry import SCENARIOS, Skipped  # noqa: F401
