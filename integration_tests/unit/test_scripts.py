"""Every script of the contract: it is there, has its options, and prints the tool's command with --dry-run."""
import contextlib
import importlib
import io
import os
import pathlib
import re
import signal
import subprocess
import sys
import unittest
from unittest import mock

from support import ROOT, Case  # first: it says where the others are

import run_all
import seed_data
import verify_restore

from harness import dataset, restores, session, tool

SCRIPTS = ("setup_btrfs", "teardown_btrfs", "seed_data", "mutate_data", "run_full", "run_incremental", "run_interrupt",
           "run_large", "run_restore", "run_restore_archive", "run_cli_flags", "run_lock_contention", "run_spool",
           "verify_manifest", "verify_s3", "verify_retention", "verify_restore", "benchmark", "cleanup_s3_prefix",
           "run_all")


class Scripts(Case):
    def test_each_has_a_purpose_and_takes_a_configuration(self):
        self.assertEqual(sorted(SCRIPTS), sorted(path.stem for path in (ROOT / "scripts").glob("*.py")))
        for name in SCRIPTS:
            module = importlib.import_module(name)
            arguments = module.options().parse_args(["--config", "a.toml", "--config", "b.toml"])
            self.assertEqual([path.name for path in arguments.config], ["a.toml", "b.toml"], name)
            self.assertTrue(module.__doc__.splitlines()[0].rstrip().endswith((".", ";", ",")) or len(module.__doc__) > 60)
            self.assertTrue(os.access(module.__file__, os.X_OK), name)

    def test_dry_run_prints_the_command_and_runs_nothing(self):
        for name in ("run_full", "run_incremental", "run_large", "run_interrupt", "run_lock_contention", "run_spool",
                     "benchmark"):
            module = importlib.import_module(name)
            arguments = module.options().parse_args([*self.words(), "--dry-run"])
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                status = session.run(module.body, arguments, name)
            self.assertEqual(status, 0, name)
            self.assertRegex(said.getvalue(), r"^true backup.* --config /.*tool\.toml\n$")
        self.assertFalse((self.directory / "run" / "state").exists())

    def said(self, name, *words, status=0):
        """What a script prints with these options and --dry-run; that it changes nothing else."""
        module, out, err = importlib.import_module(name), io.StringIO(), io.StringIO()
        arguments = module.options().parse_args([*self.words(), "--dry-run", *words])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.assertEqual(session.run(module.body, arguments, name), status, err.getvalue())
        return out.getvalue() if status == 0 else err.getvalue()

    def test_where_run_restore_restores_to(self):
        mount = self.directory / "run" / "mnt"
        for words, targets in (
                ([], [f"{mount}/restored/{name}" for name in ("data", "root", "home")]),
                (["--target-base", f"{mount}/elsewhere/"], [f"{mount}/elsewhere/{name}" for name in ("data", "root", "home")]),
                (["--target-base", os.path.relpath(mount / "x"), "--subvolume", "root"], [f"{mount}/x/root"]),
                (["--subvolume", "root", "--target-name", "then"], [f"{mount}/restored/then"]),
                (["--subvolume", "root", "--target-base", f"{mount}/x", "--target-name", "y"], [f"{mount}/x/y"]),
                (["--subvolume", "root", "--target", f"{mount}/x/../z"], [f"{mount}/z"])):
            lines = self.said("run_restore", *words).splitlines()
            self.assertEqual([re.search(r"--target (\S+)", line)[1] for line in lines], targets, words)
        self.assertIn(" --restore-timeout 60 ", self.said("run_restore", "--restore-timeout", "60"))
        for words, reason in ((["--target-base", "/srv"], "paths.mount"), (["--target-base", str(mount)], "paths.mount"),
                              (["--target-base", f"{mount}/live"], "paths.data"),
                              (["--target-base", f"{mount}/snapshots/x"], "paths.snapshots"),
                              (["--target", f"{mount}/x"], "one subvolume"),
                              (["--target-name", "x"], "one subvolume"),
                              (["--subvolume", "root", "--target-name", "../x"], "--target-name"),
                              (["--subvolume", "root", "--target", f"{mount}/x", "--target-base", f"{mount}/y"], "--target")):
            self.assertIn(reason, self.said("run_restore", *words, status=1), words)

    def test_what_lies_at_a_target_is_removed_only_where_the_harness_put_it(self):
        this = self.session()
        target = this.settings.paths.mount / "elsewhere" / "root"
        target.mkdir(parents=True)
        with mock.patch("harness.btrfs.delete_subvolume") as deleted:
            with self.assertRaisesRegex(session.HarnessError, "is there already"):
                restores.make_room(this.settings, "root", target)
            deleted.assert_not_called()
            this.settings.paths.scratch.mkdir(parents=True)
            restores.note(this.settings, "root", "key", target)
            restores.make_room(this.settings, "root", target)
            deleted.assert_called_once_with(target)
        self.assertEqual(restores.restored(this.settings), {"root": {"target": str(target), "manifest_key": "key"}})

    def test_the_names_that_the_earlier_harness_has_for_options_are_taken(self):
        for name, words in (("seed_data", "--dataset-size-mib 7"), ("mutate_data", "--dataset-size-mib 7"),
                            ("run_all", "--skip-s3"), ("run_incremental", "--skip-mutate"), ("run_interrupt", "--sleep 3"),
                            ("run_cli_flags", "--subvolume root --restore-target-base x"),
                            ("run_lock_contention", "--subvolume root"),
                            ("run_restore", "--target-base x --restore-timeout 3 --use-incremental-manifest --dry-run"),
                            ("run_restore_archive", "--subvolume root --target-base x --restore-timeout 3 --dry-run"),
                            ("verify_manifest", "--manifest x --schema y --s3-schema z"),
                            ("verify_restore", "--source-snapshot x --target y --sample-size 3 --mode sample"),
                            ("verify_restore", "--target-base x --subvolume all"), ("cleanup_s3_prefix", "--yes")):
            importlib.import_module(name).options().parse_args(words.split())
        self.assertEqual(importlib.import_module("seed_data").options().parse_args(["--dataset-size-mib", "7"]).size_mib, 7)

    def test_a_subvolume_is_one_of_the_configuration(self):
        for name in ("run_lock_contention", "run_restore_archive", "run_restore"):
            self.assertIn(" --subvolume root ", self.said(name, "--subvolume", "root"))
            self.assertIn("btrfs.subvolumes has", self.said(name, "--subvolume", "nothing", status=1))

    def test_a_script_is_a_program_whose_errors_have_no_traceback(self):
        path = self.write("bad.toml", "[awz]\n")
        done = subprocess.run([sys.executable, "-B", str(ROOT / "scripts" / "run_full.py"), *self.words(),
                               "--config", str(path)],
                              capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done)
        self.assertIn("did you mean aws?", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_a_demand_that_is_not_met_is_status_1_and_in_the_log(self):
        arguments = seed_data.options().parse_args(self.words())
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(session.run(seed_data.body, arguments, "seed_data"), 1)
        self.assertIn("run setup_btrfs.py first", said.getvalue())
        logs = list(pathlib.Path(self.directory / "run" / "logs").glob("seed_data-*.log"))
        self.assertIn("FAILED", logs[0].read_text())


    def test_what_needs_no_store_works_without_one(self):
        for name in SCRIPTS:
            module = importlib.import_module(name)
            arguments = module.options().parse_args([*self.words(), "--endpoint", "rgw"])
            if name in ("setup_btrfs", "teardown_btrfs", "seed_data", "mutate_data"):
                session.open_session(arguments, name)
            else:
                with self.assertRaisesRegex(session.HarnessError, "no gateway runs"):
                    session.open_session(arguments, name)


class RunAll(Case):
    def titles(self, *words):
        return [title for title, _, _ in run_all.steps(run_all.options().parse_args(words))]

    def test_options_add_steps(self):
        usual = self.titles()
        self.assertEqual(usual[:6], ["setup", "seed", "full", "mutate", "incremental", "interrupt"])
        self.assertNotIn("large", usual)
        self.assertIn("large", self.titles("--include-large"))
        self.assertEqual(self.titles("--include-archive")[-1], "archive")
        self.assertEqual(self.titles("--skip-s3", "--include-large"), ["setup", "seed", "mutate"])

    def test_a_failed_step_is_followed_by_the_teardown(self):
        arguments = run_all.options().parse_args(self.words())
        run = run_all.Run(arguments)
        run.settings = self.settings()
        done = []
        run.all = lambda: run.script("broken", broken)
        run.tear_down = lambda: done.append("teardown") or []

        class broken:
            __file__ = "broken.py"
            options = staticmethod(run_all.options)

            @staticmethod
            def body(this, _arguments):
                raise run_all.HarnessError("broken on purpose")

        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(run_all.perform(run), 1)
        self.assertEqual(done, ["teardown"])
        self.assertIn("broken.py failed", said.getvalue())

    def test_an_interrupt_and_a_signal_are_followed_by_the_teardown(self):
        for leaving, word in ((KeyboardInterrupt(), "interrupted"), (SystemExit(143), "signal 15"),
                              (ValueError("x"), "defect")):
            run = run_all.Run(run_all.options().parse_args(self.words()))
            run.settings, done = self.settings(), []

            def end(leaving=leaving):
                raise leaving
            run.all = end
            run.tear_down = lambda done=done: done.append("teardown") or []
            with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual(run_all.perform(run), 1)
            self.assertEqual(done, ["teardown"])
            self.assertIn(word, said.getvalue())


class SignalsDeferred(Case):
    def test_what_is_begun_is_whole_before_the_signal_counts(self):
        def leave(number, _frame):
            raise SystemExit(128 + number)
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.signal(number, leave)
            try:
                done = []
                with self.assertRaises(SystemExit) as left:
                    with tool.signals_deferred():
                        os.kill(os.getpid(), number)
                        done.append("noted")
                self.assertEqual((done, left.exception.code, signal.getsignal(number)), (["noted"], 128 + number, leave))
                with tool.signals_deferred():
                    done.append("nothing came")
            finally:
                signal.signal(number, before)
        self.assertEqual(done[-1], "nothing came")

    def test_what_is_ignored_stays_so(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with tool.signals_deferred():
                os.kill(os.getpid(), signal.SIGHUP)
            self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
        finally:
            signal.signal(signal.SIGHUP, before)


class Incremental(Case):
    def test_it_changes_the_data_first_each_time_anew(self):
        import run_incremental
        this = self.session()
        rounds = []
        for name in this.settings.btrfs.subvolumes:
            this.settings.subvolume(name).mkdir(parents=True)
            (this.settings.subvolume(name) / "large.bin").touch()

        def mutate(root, number, _size):
            rounds.append(number)
            (root / f"added{number}").mkdir()
        with mock.patch.object(dataset, "mutate", mutate), mock.patch("os.geteuid", return_value=0), \
                mock.patch("harness.backups.pointers", return_value={}), \
                mock.patch("harness.backups.back_up", return_value=({}, None)), \
                contextlib.redirect_stdout(io.StringIO()):
            for words in ([], ["--skip-mutate"], []):
                run_incremental.body(this, run_incremental.options().parse_args([*self.words(), *words]))
        self.assertEqual(rounds, [2, 2, 2, 3, 3, 3])


class Sample(Case):
    def test_it_is_the_same_each_time_and_of_regular_files(self):
        files = {f"{number}".encode(): {"type": 0o100000} for number in range(50)}
        files[b"folder"] = {"type": 0o040000}
        chosen = verify_restore.sample(files, 10)
        self.assertEqual(len(chosen), 10)
        self.assertNotIn(b"folder", chosen)
        self.assertEqual(chosen, verify_restore.sample(dict(reversed(files.items())), 10))


if __name__ == "__main__":
    unittest.main()
