"""What can be measured, by name."""
SCENARIOS = {}


class Skipped(Exception):
    """A scenario that this machine cannot do, with the reason."""


def scenario(name, size, smoke, runs=9):
    """Registers a function of a context. `size`: bytes by default; `smoke`: bytes in the smoke run;
    `runs`: rounds by default. Its docstring's first line is its description."""
    def register(function):
        function.scenario_name, function.size, function.smoke_size = name, size, smoke
        function.runs = runs
        SCENARIOS[name] = function
        return function
    return register
