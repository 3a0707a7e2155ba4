"""Contestants over the same input in turns, and what their runs say."""
import time

from . import figures, machine, measure

GIB = 1 << 30
SETTLED = 1.0  # seconds between runs: what the one before has freed is taken back by then
BACKED = 2 * GIB  # before each run: what the one before gave back, the host may have taken
# name: (figure of one run, larger is better)
FIGURES = {
    "throughput_mib_s": (lambda run, size: size / (1 << 20) / run["seconds"], True),
    "cpu_s_per_gib": (lambda run, size: run["cpu_own"] * GIB / size, False),
    "cpu_with_children_s_per_gib": (lambda run, size: run["cpu_all"] * GIB / size, False),
    "peak_rss_mib": (lambda run, size: run["peak_rss"] / (1 << 20), False),
    "switches_per_gib": (lambda run, size: run["switches_own"] * GIB / size, False),
    "switches_with_children_per_gib": (lambda run, size: run["switches_all"] * GIB / size, False),
    "seconds": (lambda run, size: run["seconds"], False),
}
RATIOS = ("throughput_mib_s", "cpu_s_per_gib", "seconds")


def order_of(names, turn):
    """The names in the order of that round: each second one runs backwards, and after it another begins. In rotation
    alone everybody would always follow the same one, and pay for what that one leaves behind."""
    first = turn // 2 % len(names)
    order = names[first:] + names[:first]
    return order[::-1] if turn % 2 else order


def rounds(context, contestants, sizes, warm_up=False, backed=0):
    """{name: once} -> {name: [Usage]}: one run each a round, in the order that `order_of` gives. `backed`: bytes of
    memory that the largest contestant uses, if that is more than BACKED."""
    names = list(contestants)
    found = {name: [] for name in names}
    if warm_up:
        for name in names:
            contestants[name](-1)
    for turn in range(context.runs):
        for name in order_of(names, turn):
            if not context.smoke:
                time.sleep(SETTLED)
                machine.back_memory(max(BACKED, backed))
            usage = contestants[name](turn)
            found[name].append(usage)
            size = sizes[name]
            context.say(f"  run {turn + 1}/{context.runs} {name}: {usage.seconds:.2f} s, "
                        f"{size / (1 << 20) / usage.seconds:.0f} MiB/s, {usage.cpu_own * GIB / size:.3f} CPU-s/GiB, "
                        f"{figures.human_bytes(usage.peak_rss)}")
    return found


class Contest:
    """`add` contestants over one input; `run` runs them in rounds and counts."""

    def __init__(self, context, size):
        self.context, self.size = context, size
        self.contestants, self.skipped, self.runs, self.extra = {}, {}, {}, {}

    def add(self, name, once, command=None, syscalls=None):
        """`once(round)` does one run and returns its Usage; `command` is printed; `syscalls()` counts them in a run of
        its own."""
        self.contestants[name] = (once, syscalls)
        self.extra[name] = {"command": command} if command else {}
        if command:
            self.context.say(f"  {name}: {command}")

    def skip(self, name, reason):
        self.skipped[name] = reason
        self.context.say(f"  {name}: skipped, {reason}")

    def run(self):
        """Runs everything; returns the scenario's part of the results."""
        usages = rounds(self.context, {name: once for name, (once, _) in self.contestants.items()},
                        {name: self.size for name in self.contestants}, warm_up=self.context.warm_up)
        self.runs = {name: [usage.figures() for usage in found] for name, found in usages.items()}
        if self.context.with_syscalls:
            self.count_syscalls()
        return self.results()

    def count_syscalls(self):
        tool, reason = measure.syscall_counter()
        for name, (_, syscalls) in self.contestants.items():
            if not syscalls:
                continue
            if not tool:
                self.skip("system calls", reason)
                return
            self.extra[name]["syscalls_per_gib"] = round(syscalls() * GIB / self.size)
            self.extra[name]["syscalls_counted_by"] = tool

    def results(self):
        found = {"bytes": self.size, "contestants": {}, "ratios": {}, "skipped": self.skipped}
        for name, runs in self.runs.items():
            values = {figure: [formula(run, self.size) for run in runs] for figure, (formula, _) in FIGURES.items()}
            found["contestants"][name] = {**self.extra[name], "runs": runs, "figures": {
                figure: figures.spread(value) for figure, value in values.items()}}
        for other in self.runs:
            if other == "product" or "product" not in self.runs:
                continue
            found["ratios"][f"product/{other}"] = {}
            for figure in RATIOS:
                formula = FIGURES[figure][0]
                pairs = [(formula(a, self.size), formula(b, self.size))
                         for a, b in zip(self.runs["product"], self.runs[other])]
                if all(b > 0 for _, b in pairs):  # CPU time is counted in ticks, which tiny runs do not reach
                    found["ratios"][f"product/{other}"][figure] = figures.spread(
                        figures.paired_ratios(*map(list, zip(*pairs))))
        return found
