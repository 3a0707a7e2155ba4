#!/usr/bin/env python3
"""Everything, from an empty filesystem to an empty bucket, each step with its time; all that was made is removed.

  sudo python3 integration_tests/scripts/run_all.py --endpoint rgw --include-large
"""
import contextlib
import fcntl
import pathlib
import sys
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import benchmark  # noqa: E402
import cleanup_s3_prefix  # noqa: E402
import mutate_data  # noqa: E402
import run_cli_flags  # noqa: E402
import run_full  # noqa: E402
import run_incremental  # noqa: E402
import run_interrupt  # noqa: E402
import run_large  # noqa: E402
import run_lock_contention  # noqa: E402
import run_restore  # noqa: E402
import run_restore_archive  # noqa: E402
import run_spool  # noqa: E402
import seed_data  # noqa: E402
import setup_btrfs  # noqa: E402
import teardown_btrfs  # noqa: E402
import verify_manifest  # noqa: E402
import verify_restore  # noqa: E402
import verify_retention  # noqa: E402
import verify_s3  # noqa: E402

from harness import backups, btrfs, env, logs, rgw, session, teardown, tool  # noqa: E402
from harness.assertions import HarnessError, require  # noqa: E402
from harness.config import MIB  # noqa: E402

SKIPPED = 77


def options():
    result = session.parser(__doc__)
    result.add_argument("--include-large", action="store_true", help="also a backup of many chunks, and a benchmark")
    result.add_argument("--include-archive", action="store_true", help="also restores from an archive class")
    result.add_argument("--skip-s3", action="store_true", help="make the filesystem and its data, back up nothing")
    result.add_argument("--keep", action="store_true", help="remove nothing in the end: for a look at a failure")
    return result


def steps(arguments):
    """[(title, script, its arguments)], in order."""
    def config(name):
        """A script's own configuration file over the chosen ones, so that bucket and endpoint stay."""
        return ["--config", str(session.CONFIG / name)]

    if arguments.skip_s3:
        return [("setup", setup_btrfs, []), ("seed", seed_data, []), ("mutate", mutate_data, [])]
    result = [
        ("setup", setup_btrfs, []),
        ("seed", seed_data, []),
        ("full", run_full, []),
        ("mutate", mutate_data, []),
        ("incremental", run_incremental, ["--skip-mutate"]),
        ("interrupt", run_interrupt, []),
        ("verify manifests", verify_manifest, []),
        ("verify bucket", verify_s3, ["--content"]),
        ("verify retention", verify_retention, []),
        ("restore", run_restore, []),
        ("verify restore", verify_restore, []),
        ("verify restore, a sample", verify_restore, ["--mode", "sample"]),
        ("restore the incremental by its key", run_restore, ["--use-incremental-manifest"]),
        ("verify restore", verify_restore, []),
        ("restore the full by its key", run_restore, ["--use-full-manifest"]),
        ("verify restore", verify_restore, []),
        ("self-test: manifests", verify_manifest, ["--self-test"]),
        ("self-test: bucket", verify_s3, ["--self-test"]),
        ("self-test: retention", verify_retention, ["--self-test"]),
        ("self-test: restore", verify_restore, ["--self-test"]),
        ("flags", run_cli_flags, []),
        ("lock", run_lock_contention, []),
        ("spool", run_spool, config("test_spool.toml")),
    ]
    if arguments.include_large:
        result += [("large", run_large, config("test_large.toml")),
                   ("restore the large one", run_restore, ["--subvolume", "FIRST"]),
                   ("verify restore", verify_restore, ["--subvolume", "FIRST"]),
                   ("benchmark", benchmark, ["--runs", "1"])]
    result += [("verify manifests", verify_manifest, []), ("verify bucket", verify_s3, []),
               ("verify retention", verify_retention, [])]
    if arguments.include_archive:
        result.append(("archive", run_restore_archive, config("test_archive.toml")))
    return result


class Run:
    def __init__(self, arguments):
        self.arguments = arguments
        self.settings = None
        self.prefix_is_ours = False
        self.times, self.runs = [], []  # (title, seconds), and the runs of the tool within, of each step

    def common(self):
        """What every script is given."""
        words = []
        for path in self.arguments.config or [self.arguments.default_config]:
            words += ["--config", str(path)]
        words += ["--env", str(self.arguments.env)]
        return words + (["--endpoint", self.arguments.endpoint] if self.arguments.endpoint else [])

    def timed(self, title, action):
        print(f"== {title}", flush=True)
        began, before = time.monotonic(), self.logs()
        try:
            status = action()
        finally:
            seconds = time.monotonic() - began
            self.times.append((title, seconds))
            self.runs.append([run for path in sorted(self.logs() - before) for run in logs.parse_stats(path)["runs"]])
        word = "skipped" if status == SKIPPED else "failed" if status else "passed"
        print(f"   {word} in {seconds:.1f} s", flush=True)
        return status

    def logs(self):
        return set(self.settings.paths.logs.glob("*.log"))

    def table(self):
        """Each step with its time and, where it ran the tool, what that told of itself."""
        def row(seconds, runs, title):
            of = logs.totals(runs)
            cells = [f"{seconds:8.1f}"] + [f"{'':>{width}}" for width in (9, 8, 7, 8)]
            if runs:
                cells[1:] = [f"{of['bytes'] / MIB:9.1f}", f"{of['bytes_per_second'] / MIB:8.1f}",
                             *(f"{'' if of[name] is None else of[name]:>{width}}" for name, width in
                               (("parts", 7), ("retries", 8)))]
            return "".join(cells) + f"  {title}\n"
        rows = [row(seconds, runs, title) for (title, seconds), runs in zip(self.times, self.runs)]
        return (f"{'seconds':>8}{'MiB':>9}{'MiB/s':>8}{'parts':>7}{'retries':>8}  step\n" + "".join(rows)
                + row(sum(seconds for _, seconds in self.times), sum(self.runs, []), "in all"))

    def script(self, title, module, more=()):
        words = [self.settings.btrfs.subvolumes[0] if word == "FIRST" else word for word in more]
        arguments = module.options().parse_args([*self.common(), *words])
        name = pathlib.Path(module.__file__).stem
        status = self.timed(title, lambda: session.run(module.body, arguments, name))
        if status not in (0, SKIPPED):
            raise HarnessError(f"{title}: {name}.py failed; logs are in {self.settings.paths.logs}")

    def gateway(self):
        teardown.gateway(self.settings)
        try:
            rgw.Gateway(session.gateway_directory(self.settings)).start()
        except RuntimeError as problem:
            raise HarnessError(f"the gateway did not start: {problem}") from problem

    def bucket(self, this, _arguments):
        backups.prepare_bucket(this)
        prefix = this.settings.aws.prefix + "/"
        found = this.store.list(prefix)
        require(not found, f"s3://{this.settings.aws.bucket}/{prefix} has {len(found)} objects: choose another "
                "aws.prefix, or delete them with cleanup_s3_prefix.py --yes")
        self.prefix_is_ours = True

    def all(self):
        if not self.arguments.skip_s3:
            if self.arguments.endpoint == "rgw":
                self.timed("gateway", self.gateway)
            status = self.timed("bucket", lambda: session.run(self.bucket, self.arguments, "bucket"))
            require(status == 0, "the bucket cannot be used")
        for title, module, more in steps(self.arguments):
            self.script(title, module, more)

    def tear_down(self):
        """What can be removed is removed, whatever fails."""
        failed = []
        if self.arguments.keep:
            print(f"kept: {self.settings.paths.run}; teardown_btrfs.py and cleanup_s3_prefix.py remove it")
            return failed
        for title, needed, module, more in (
                ("teardown of the bucket", self.prefix_is_ours, cleanup_s3_prefix, ["--yes"]),
                ("teardown", True, teardown_btrfs, [])):
            if needed:
                try:
                    self.script(title, module, more)
                except HarnessError as problem:
                    failed.append(str(problem))
        return failed


def perform(run):
    """Everything and its teardown; the exit status."""
    failed = []
    try:
        run.all()
    except HarnessError as problem:
        failed.append(str(problem))
    except KeyboardInterrupt:
        failed.append("interrupted")
    except SystemExit as leaving:
        failed.append(f"ended by signal {leaving.code - 128}")
    except Exception as bug:
        traceback.print_exc()
        failed.append(f"the harness has a defect: {bug!r}")
    finally:
        # A second Ctrl-C must not leave mounts and daemons behind.
        with tool.signals_ignored():
            failed += run.tear_down()
    print("\n" + run.table(), end="")
    print("run_all: " + ("; ".join(failed) if failed else "all of it passed"), flush=True)
    return 1 if failed else 0


@contextlib.contextmanager
def alone(settings):
    """One run at a time uses run/."""
    env.make(settings.paths.run)
    path = settings.paths.run / "run_all.lock"
    with open(path, "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise HarnessError(f"another run_all.py uses {settings.paths.run}") from problem
        yield


def main():
    tool.exit_on_signals()
    arguments = options().parse_args()
    run = Run(arguments)
    try:
        run.settings = session.settings_of(arguments)
        reason = btrfs.why_not()
        if not reason and arguments.endpoint == "rgw" and not arguments.skip_s3 and rgw.missing_programs():
            reason = (f"not installed: {', '.join(rgw.missing_programs())}; "
                      "run tests/install_dependencies.sh integration")
        if reason:
            print(f"skipped: {reason}")
            return SKIPPED
        with alone(run.settings):
            try:
                return perform(run)
            finally:
                session.hand_over(run.settings)
    except HarnessError as problem:
        print(f"run_all: {problem}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
