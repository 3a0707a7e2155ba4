from . import upload  # noqa: F401  (registers)
from .registry import SCENARIOS, Skipped  # noqa: F401
