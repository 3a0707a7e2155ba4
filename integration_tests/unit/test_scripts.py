"""Every script of the contract: it is there, has its options, and prints the tool's command with --dry-run."""
import contextlib
import importlib
import io
import os
import pathlib
import subprocess
import sys
import unittest

from support import ROOT, Case  # first: it says where the others are

import run_all
import seed_data
import verify_restore

from harness import session

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

    def test_a_script_is_a_program_whose_errors_have_no_traceback(self):
        path = self.write("bad.toml", "[awz]\n")
        done = subprocess.run([sys.executable, "-B", str(ROOT / "scripts" / "run_full.py"), "--config", str(path)],
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
