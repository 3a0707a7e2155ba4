"""Whose run/ is after sudo: the caller's, all of it, however the run ended."""
import contextlib
import io
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest
from unittest import mock

from support import ROOT, Case  # first: it says where the others are

from harness import btrfs, env, session

CALLER = {"SUDO_UID": "1234", "SUDO_GID": "4321"}


def owners(directory):
    """{path: (user, group)} of the directory and of all below it."""
    return {str(path): (path.lstat().st_uid, path.lstat().st_gid) for path in (directory, *directory.rglob("*"))}


@unittest.skipIf(os.geteuid() != 0, "not root")
class HandedOver(Case):
    def all_are_the_callers(self, directory):
        found = owners(directory)
        self.assertEqual({path: owner for path, owner in found.items() if owner != (1234, 4321)}, {})
        return found

    def test_what_root_made_is_given_to_the_user_who_called_sudo(self):
        self.write("run/logs/x.log", "x")
        os.symlink("/etc/passwd", self.directory / "run" / "link")
        os.mkfifo(self.directory / "run" / "logs" / "pipe")
        with mock.patch.dict(os.environ, CALLER):
            self.assertEqual(env.hand_over(self.directory / "run"), [])
        self.assertEqual(len(self.all_are_the_callers(self.directory / "run")), 5)
        self.assertEqual(os.stat("/etc/passwd").st_uid, 0)

    def test_without_sudo_nothing_changes_hands(self):
        self.write("run/x", "x")
        os.chown(self.directory / "run", 5, 5)
        for variables in ({}, {"SUDO_UID": "me"}, {"SUDO_UID": ""}):
            with mock.patch.dict(os.environ, variables):
                env.hand_over(self.directory / "run")
            self.assertEqual((self.directory / "run").lstat().st_uid, 5)
            self.assertEqual((self.directory / "run" / "x").lstat().st_uid, 0)

    def test_without_a_group_it_is_the_users_own(self):
        self.write("run/x", "x")
        with mock.patch.dict(os.environ, {"SUDO_UID": "65534"}):
            env.hand_over(self.directory / "run")
        self.assertEqual(set(owners(self.directory / "run").values()), {(65534, 65534)})

    def test_what_vanishes_meanwhile_stops_nothing(self):
        """A gateway's daemons remove files of theirs when they please."""
        for number in range(20):
            self.write(f"run/{number}/x", "x")
        real, gone = os.chown, []

        def chown(path, *rest, **named):
            if not gone and path != self.directory / "run":
                for number in range(20):
                    gone.append(number)
                    shutil.rmtree(self.directory / "run" / str(number))
                    if number == 9:
                        break
            real(path, *rest, **named)
        with mock.patch.dict(os.environ, CALLER), mock.patch("os.chown", chown):
            self.assertEqual(env.hand_over(self.directory / "run"), [])
        self.assertTrue(gone)
        self.assertEqual(len(self.all_are_the_callers(self.directory / "run")), 21)

    def test_what_cannot_be_given_is_named_and_the_rest_is_given(self):
        self.write("run/a", "x"), self.write("run/b", "x"), self.write("run/c/d", "x")
        real = os.chown

        def chown(path, *rest, **named):
            if path == "b":
                raise PermissionError(1, "Operation not permitted")
            real(path, *rest, **named)
        with mock.patch.dict(os.environ, CALLER), mock.patch("os.chown", chown):
            problem, = env.hand_over(self.directory / "run")
        self.assertEqual(problem, f"{self.directory}/run/b: Operation not permitted")
        self.assertEqual([path for path, owner in owners(self.directory / "run").items() if owner != (1234, 4321)],
                         [f"{self.directory}/run/b"])

    def test_directories_above_it_that_had_to_be_made_are_the_callers_at_once(self):
        os.chown(self.directory, 1, 1)
        with mock.patch.dict(os.environ, CALLER):
            env.make(self.directory / "a" / "b" / "run")
            env.make(self.directory / "a" / "b" / "run")
        self.assertEqual(len(self.all_are_the_callers(self.directory / "a")), 3)
        self.assertEqual(self.directory.lstat().st_uid, 1)

    def test_a_session_hands_over_even_where_ending_it_fails(self):
        this = self.session()
        self.write("run/logs/x.log", "x")
        this.runners.append(mock.Mock(kill_running=mock.Mock(side_effect=OSError("on purpose"))))
        with mock.patch.dict(os.environ, CALLER), self.assertRaises(OSError):
            this.close()
        self.all_are_the_callers(self.directory / "run")

    def test_a_script_that_fails_hands_over(self):
        import seed_data
        with mock.patch.dict(os.environ, CALLER), contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(session.run(seed_data.body, seed_data.options().parse_args(self.words()), "seed_data"), 1)
        self.assertGreater(len(self.all_are_the_callers(self.directory / "run")), 2)


@unittest.skipIf(os.geteuid() != 0, "not root")
class TakenBack(Case):
    def test_the_tool_finds_its_own_files_as_roots_in_each_run(self):
        """It takes no lock, and no spool, of anybody else."""
        script = self.write("fake.py", "import os, sys, tomllib\nfor key in ('lock_path', 'state_path', 'spool_dir'):\n"
                            "    path = tomllib.load(open(sys.argv[-1], 'rb'))['global'][key]\n"
                            "    path += '/part' if key == 'spool_dir' else ''\n"
                            "    print(os.stat(path).st_uid if os.path.exists(path) else 'made')\n"
                            "    open(path, 'a').close()\n")
        with mock.patch.dict(os.environ, CALLER):
            for said in ("made", "0"):
                this = self.session(tool={"cmd": [sys.executable, str(script)]})
                self.assertEqual(this.runner().check("backup").stdout.split(), [said] * 3)
                this.close()
                found = owners(self.directory / "run")
                self.assertEqual(set(found.values()), {(1234, 4321)})
                self.assertIn(str(this.settings.lock_file), found)


@unittest.skipIf(btrfs.why_not(), btrfs.why_not() or "")
class RunAll(Case):
    """The program itself, with what sudo sets; the run directory lies in one that has to be made."""

    def started(self, *words):
        tables = self.tables()
        tables["paths"] = {key: text.replace("/run", "/made/run", 1) for key, text in tables["paths"].items()}
        self.tables = lambda: tables
        script = self.write("sleep.py", "import time; time.sleep(600)")
        command = [sys.executable, "-B", str(ROOT / "scripts" / "run_all.py"), *self.words(), *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env={"PATH": os.environ["PATH"], "BTRFS_TO_S3_CMD": f'["{sys.executable}", "{script}"]',
                                     "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", **CALLER})

    def ended(self, process, status, word):
        said, _ = process.communicate(timeout=240)
        self.assertEqual(process.returncode, status, said)
        self.assertIn(word, said)
        found = {path: owner for path, owner in owners(self.directory / "made").items() if owner != (1234, 4321)}
        self.assertEqual(found, {}, said)

    def test_after_a_failure(self):
        self.ended(self.started("--endpoint", "http://127.0.0.1:1"), 1, "the bucket cannot be used")

    def test_after_an_interrupt_and_a_second_one(self):
        for number, word in ((signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended by signal 15")):
            with socket.create_server(("127.0.0.1", 0)) as silent:
                # It is asked for the bucket, and does not answer.
                process = self.started("--endpoint", f"http://127.0.0.1:{silent.getsockname()[1]}")
                try:
                    silent.settimeout(240)
                    connection, _ = silent.accept()
                    with connection:
                        process.send_signal(number)
                        time.sleep(0.05)
                        process.send_signal(number)
                        self.ended(process, 1, word)
                finally:
                    process.kill()
                    process.wait()
                    process.stdout.close()
            shutil.rmtree(self.directory / "made")


if __name__ == "__main__":
    unittest.main()
