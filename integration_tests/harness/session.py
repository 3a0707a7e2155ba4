"""What every script begins and ends with: options, settings, endpoint, environment, log; errors without a traceback."""
import argparse
import functools
import json
import os
import pathlib
import subprocess
import sys

from . import config, env, logs, runner, tool
from .assertions import HarnessError

CONFIG = config.ROOT / "config"
COMMAND = "BTRFS_TO_S3_CMD"
# What this process was started with; sessions change it.
STARTED_WITH = dict(os.environ)


def parser(description, default="test.toml", dry_run=False, needs_store=True):
    """The options that all scripts have. A script that needs no store works when its endpoint is gone, too."""
    result = argparse.ArgumentParser(description=description.splitlines()[0])
    result.set_defaults(default_config=CONFIG / default, needs_store=needs_store)
    result.add_argument("--config", action="append", type=pathlib.Path, metavar="FILE",
                        help=f"repeatable: later files replace keys of earlier ones (default: config/{default})")
    result.add_argument("--env", type=pathlib.Path, default=CONFIG / "test.env", metavar="FILE",
                        help="credentials and the like (default: config/test.env)")
    result.add_argument("--endpoint", metavar="rgw|aws|URL",
                        help="rgw: the throwaway gateway of this run; aws: AWS; default: aws.endpoint_url")
    if dry_run:
        result.add_argument("--dry-run", action="store_true", help="print the tool's command, run nothing")
    return result


def chosen(settings, name):
    """That subvolume, which must be one of the configuration."""
    if name not in settings.btrfs.subvolumes:
        raise HarnessError(f"--subvolume {name}: btrfs.subvolumes has {settings.btrfs.subvolumes}")
    return name


def below_mount(settings, option, text):
    """Where a restore may go, given on the command line: on the filesystem, and neither at the data nor at snapshots."""
    path = pathlib.Path(os.path.abspath(text))
    if settings.paths.mount not in path.parents:
        raise HarnessError(f"{option} {text} must lie below paths.mount ({settings.paths.mount})")
    for key in ("data", "snapshots"):
        if getattr(settings.paths, key) in (path, *path.parents):
            raise HarnessError(f"{option} {text} must not lie below paths.{key} ({getattr(settings.paths, key)})")
    return path


class Session:
    """`credentials` are set for stores that the harness itself started; `cloud` is what else concerns credentials."""

    def __init__(self, settings, log, cloud, credentials=None):
        self.settings, self.log, self.cloud, self.credentials = settings, log, cloud, credentials
        self.runners = []

    @functools.cached_property
    def store(self):
        # Not before a script needs the bucket: boto3 takes its time.
        from . import aws
        return aws.Store(self.settings, self.credentials)

    @property
    def environment(self):
        return env.for_tool(self.settings, self.cloud, self.credentials)

    def runner(self, names=None):
        """Runs the tool with these subvolumes configured, by default all."""
        self.runners.append(runner.Runner(self.settings, self.environment, self.log, names))
        return self.runners[-1]

    def over(self, **tables):
        """A session with some settings replaced."""
        copy = Session(self.settings.over(**tables), self.log, self.cloud, self.credentials)
        copy.runners = self.runners
        if "store" in self.__dict__ and all(getattr(copy.settings.aws, key) == getattr(self.settings.aws, key)
                                            for key in ("endpoint_url", "bucket", "region")):
            copy.store = self.store
        return copy

    @property
    def throwaway(self):
        """Whether the store was started by the harness."""
        return self.credentials is not None

    def close(self):
        try:
            for one in self.runners:
                one.kill_running()
        finally:
            hand_over(self.settings)


def hand_over(settings):
    """run/ to whoever called sudo; no signal comes between."""
    with tool.signals_ignored():
        for line in env.hand_over(settings.paths.run):
            print(f"still root's: {line}", file=sys.stderr)


def gateway_directory(settings):
    return settings.paths.run / "gateway"


def settings_of(arguments):
    """The tool's command is that of the environment, else of the file with the environment, else of the configuration."""
    command = STARTED_WITH.get(COMMAND) or env.read_file(arguments.env).get(COMMAND, "")
    return config.Settings(config.read_merged(arguments.config or [arguments.default_config]), {COMMAND: command})


def open_session(arguments, name):
    settings = settings_of(arguments)
    cloud = {name: value for name, value in STARTED_WITH.items() if env.CLOUD.match(name)}
    cloud.update(env.read_file(arguments.env))
    cloud.pop(COMMAND, None)
    env.make(settings.paths.run)
    log = logs.Log(settings.paths.logs, name)
    choice, credentials = arguments.endpoint if arguments.needs_store else None, None
    if choice == "rgw":
        info = gateway_directory(settings) / "rgw.json"
        if not info.exists():
            raise HarnessError("no gateway runs for this run; start one: python3 integration_tests/harness/rgw.py "
                               f"start {info.parent}")
        gateway = json.loads(info.read_text(encoding="ascii"))
        settings = settings.over(aws={"endpoint_url": gateway["endpoint"]})
        credentials = (gateway["access_key"], gateway["secret_key"])
    elif choice == "aws":
        settings = settings.over(aws={"endpoint_url": ""})
    elif choice:
        settings = settings.over(aws={"endpoint_url": choice})
    # boto3 in this process reads the environment as well.
    for variable in [one for one in os.environ if env.CLOUD.match(one)]:
        del os.environ[variable]
    if credentials is None:
        os.environ.update(cloud)
    return Session(settings, log, cloud, credentials)


def run(body, arguments, name):
    """Opens a session, calls body(session, arguments), closes it; returns its exit status, 1 for a failed demand."""
    try:
        session = open_session(arguments, name)
    except HarnessError as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        return 2
    try:
        return body(session, arguments) or 0
    except (HarnessError, subprocess.CalledProcessError) as problem:
        text = str(problem)
        if isinstance(problem, subprocess.CalledProcessError):
            text = f"{' '.join(problem.cmd)}: status {problem.returncode}\n{problem.stderr or ''}".rstrip()
        session.log.write(f"FAILED {text}")
        print(f"{name}: {text}", file=sys.stderr, flush=True)
        return 1
    finally:
        session.close()


def main(body, options, script):
    """The end of each script: `options` is its parser. Signals unwind what is open."""
    tool.exit_on_signals()
    name = pathlib.Path(script).stem
    try:
        return run(body, options.parse_args(), name)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
