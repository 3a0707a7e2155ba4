"""The environment file, the environment of the tool, and running it by the contract."""
import os
import re
import sys
import unittest
from unittest import mock

from support import ROOT, Case, quiet, shipped  # first: it says where the others are

from harness import env, runner, session
from harness.assertions import HarnessError


class EnvironmentFile(Case):
    def test_quotes_comments_and_empty_values(self):
        path = self.write("test.env", "# nothing\n\nexport A=1\nB='two words' # and a remark\nC=\nD=\"x=y\"\n")
        self.assertEqual(env.read_file(path), {"A": "1", "B": "two words", "D": "x=y"})

    def test_what_is_no_assignment_is_named_by_its_line(self):
        for text in ("A", "export A", "exports A=1", "A=1 B=2", "1A=2", "A='"):
            path = self.write("bad.env", "X=1\n" + text + "\n")
            with self.assertRaisesRegex(HarnessError, r"bad\.env:2"):
                env.read_file(path)

    def test_the_file_that_is_shipped_sets_nothing(self):
        if not (ROOT.parent / ".git").exists():
            self.skipTest("no Git: test.env may be filled in")
        self.assertEqual(env.read_file(self.write("test.env", shipped("config/test.env"))), {})


    def test_it_may_name_the_tool_and_the_environment_goes_before_it(self):
        words = [*self.words(), "--env", str(self.write("mine.env", "BTRFS_TO_S3_CMD='[\"false\", \"x\"]'\n"))]
        arguments = session.parser("x").parse_args(words)
        self.assertEqual(session.open_session(arguments, "unit").settings.command, ["false", "x"])
        self.assertEqual(session.settings_of(arguments).command, ["false", "x"])
        with mock.patch.dict(session.STARTED_WITH, {"BTRFS_TO_S3_CMD": '["echo"]'}):
            self.assertEqual(session.settings_of(arguments).command, ["echo"])


class Environment(Case):
    def test_a_store_of_the_harness_hides_the_clouds_of_the_user(self):
        settings = self.settings()
        with mock.patch.dict(os.environ, {"HOME": "/home/me"}):
            found = env.for_tool(settings, {"AWS_PROFILE": "mine", "HTTPS_PROXY": "x"}, ("key", "secret"))
            self.assertEqual((found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]), ("key", "secret"))
            self.assertNotIn("AWS_PROFILE", found)
            self.assertNotIn("HTTPS_PROXY", found)
            self.assertEqual(found["HOME"], str(settings.paths.run))
            found = env.for_tool(settings, {"AWS_PROFILE": "mine"})
            self.assertEqual((found["AWS_PROFILE"], found["HOME"]), ("mine", "/home/me"))
        self.assertEqual(found["BTRFS_TO_S3_HARNESS_RUN_DIR"], str(settings.paths.run))

    def test_what_concerns_a_cloud_is_recognised(self):
        for name in ("AWS_CA_BUNDLE", "AWS_PROFILE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "https_proxy", "NO_PROXY"):
            self.assertTrue(env.CLOUD.match(name), name)
        for name in ("PATH", "HOME", "SSL", "MY_AWS_THING", "SUDO_USER"):
            self.assertFalse(env.CLOUD.match(name), name)


FAKE = """import os, sys
print("arguments", sys.argv[1:])
print("run directory", os.environ["BTRFS_TO_S3_HARNESS_RUN_DIR"])
print(open(sys.argv[-1]).read())
print("went wrong", file=sys.stderr)
sys.exit(int(os.environ.get("FAKE_STATUS", "0")))
"""


class Running(Case):
    def runner(self, **tool):
        script = self.write("fake.py", FAKE)
        this = self.session(tool={"cmd": [sys.executable, str(script), "first"], **tool})
        return this, this.runner()

    def test_the_command_is_cmd_arguments_flag_and_configuration(self):
        this, run = self.runner(config_flag="-c")
        self.assertEqual(run.command(["backup", "--once"]),
                         [*this.settings.command, "backup", "--once", "-c", str(run.config)])
        self.assertIn("first backup -c ", run.shown(["backup"]))

    def test_it_gets_a_configuration_and_the_run_directory(self):
        this, run = self.runner()
        outcome = run.check("backup", "--once")
        self.assertIn("['first', 'backup', '--once', '--config', ", outcome.stdout)
        self.assertIn(f"run directory {this.settings.paths.run}", outcome.stdout)
        self.assertIn('bucket = "btrfs-to-s3-integration"', outcome.stdout)

    def test_a_failure_ends_the_script_with_what_the_tool_said(self):
        this, run = self.runner()
        with self.assertRaises(HarnessError) as caught:
            run.check("backup", environment={"FAKE_STATUS": "3"})
        for word in ("exit status 3", "went wrong", str(this.log.path), "--config"):
            self.assertIn(word, str(caught.exception))

    def test_a_success_where_a_failure_is_demanded_is_one(self):
        _, run = self.runner()
        self.assertEqual(run.refused("backup", environment={"FAKE_STATUS": "3"}).status, 3)
        with self.assertRaisesRegex(HarnessError, "had to fail"):
            run.refused("backup")

    def test_each_line_of_the_log_has_its_time(self):
        this, run = self.runner()
        run.check("backup")
        lines = this.log.path.read_text().splitlines()
        self.assertTrue(any("went wrong" in line for line in lines))
        for line in lines:
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 ")

    def test_a_tool_that_is_not_there_is_an_error_with_its_remedy(self):
        with self.assertRaisesRegex(HarnessError, re.escape("no-such-tool is no program") + ".*BTRFS_TO_S3_CMD"):
            self.session(tool={"cmd": ["no-such-tool"]}).runner()

    def test_what_still_runs_is_ended_with_the_session(self):
        script = self.write("sleep.py", "import time; time.sleep(600)")
        this = self.session(tool={"cmd": [sys.executable, str(script)]})
        process, out, err = this.runner().start("backup")
        self.addCleanup(out.close)
        self.addCleanup(err.close)
        this.close()
        self.assertEqual(process.returncode, -9)


class Paths(Case):
    def test_runner_module_demands_root_where_it_is_needed(self):
        with mock.patch("os.geteuid", return_value=1000):
            with self.assertRaisesRegex(HarnessError, "sudo"):
                runner.must_be_root("a backup")

    def test_say_prints_and_logs(self):
        this = self.session()
        quiet(lambda: this.log.say("hello"))
        self.assertIn("hello", this.log.path.read_text())


if __name__ == "__main__":
    unittest.main()
