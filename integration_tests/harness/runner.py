"""Running the tool by its contract: its command, the arguments, the flag and a configuration made for the run."""
import os
import shlex
import shutil

from . import env, tool
from .assertions import HarnessError, require


class Runner(tool.Tool):
    """Writes one log for each run of the tool; ends what still runs when the script ends (kill_running)."""

    def __init__(self, settings, environment, log, names=None):
        settings.paths.scratch.mkdir(parents=True, exist_ok=True)
        super().__init__(settings.command[0], settings.paths.scratch, settings.tool_tables(names), ("", ""))
        self.settings, self.environment, self.log = settings, environment, log
        self.config = settings.paths.scratch / "tool.toml"
        self.started = {}  # process id: its command
        program = settings.command[0]
        if not shutil.which(program, path=environment["PATH"]):
            raise HarnessError(f"{program} is no program that can be run. Build it (cmake --preset release && "
                               "cmake --build --preset release), or name another one in tool.cmd or in "
                               "BTRFS_TO_S3_CMD, as in '[\"/usr/bin/btrfs_to_s3\"]'")

    def command(self, arguments):
        return [*self.settings.command, *arguments, self.settings.tool.config_flag, str(self.config)]

    def shown(self, arguments):
        """As --dry-run prints it."""
        return shlex.join(self.command(arguments))

    def start(self, *arguments, environment=None):
        for directory in (self.settings.state.parent, self.settings.lock_file.parent, self.settings.spool):
            directory.mkdir(parents=True, exist_ok=True)
            env.take_back(directory)
        self.log.write(f"$ {self.shown(arguments)}\n{tool.toml(self.tables)}")
        started = super().start(*arguments, environment=environment)
        self.started[started[0].pid] = arguments
        return started

    def finish(self, started, limit=1800):
        outcome = super().finish(started, limit)
        self.running.remove(started[0])
        arguments = self.started.pop(started[0].pid)
        self.log.write(f"{' '.join(arguments[:1])}: {outcome}(status {outcome.status}, {outcome.seconds:.1f} s, "
                       f"{outcome.peak_rss_bytes >> 20} MiB)")
        return outcome

    def check(self, *arguments, environment=None, limit=1800):
        """Runs the tool and fails with what it said unless it exits with status 0."""
        outcome = self.run(*arguments, environment=environment, limit=limit)
        if outcome.status != 0:
            raise HarnessError(f"{self.shown(arguments)}: exit status {outcome.status}\n"
                               + "\n".join(outcome.stderr.splitlines()[-15:]) + f"\n(all of it: {self.log.path})")
        return outcome

    def refused(self, *arguments, environment=None):
        """Runs the tool, which must fail, by a status of its own."""
        outcome = self.run(*arguments, environment=environment)
        require(outcome.status != 0, f"{self.shown(arguments)}: exit status 0, although it had to fail\n{outcome}")
        require(outcome.status > 0, f"{self.shown(arguments)}: killed by signal {-outcome.status}\n{outcome}")
        return outcome


def must_be_root(what):
    if os.geteuid() != 0:
        raise HarnessError(f"{what} needs root: run it with sudo")
