"""The harness's own tests judge the harness, not what people keep beside it.

README.md tells them to fill in config/test.toml and config/test.env, or to keep copies there that Git ignores, and to
export BTRFS_TO_S3_CMD. Each of that is done to a copy of this folder, which may then not be written to, and all other
tests run in it, as a user who is not root where that can be chosen.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

from support import ROOT, Case

NOBODY = 65534
SETTING = {"cmd": '["/usr/bin/mine", "--mine"]', "region": '"eu-north-1"', "bucket": '"mine"', "prefix": '"my/place"',
           "storage_class_chunks": '"GLACIER_IR"', "endpoint_url": '"https://s3.example.org"', "size_mib": "7",
           "retention_snapshots": "5", "subvolumes": '["mine"]', "config_flag": '"-c"', "local_manifest": "false",
           "part_size_bytes": '"6MiB"'}


def somebody_else():
    """Whom to run as: nobody, where root runs the tests and nobody may run this Python."""
    if os.geteuid() != 0:
        return {}
    nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, **nobody)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return nobody


class OwnTree(Case):
    def copy(self):
        self.directory.chmod(0o755)
        copy = self.directory / "tree" / ROOT.name
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("run", "__pycache__", "*.pyc", "*.local.*",
                                                                  pathlib.Path(__file__).name))
        shutil.copytree(ROOT.parent / "tests" / "data" / "manifests", copy.parent / "tests" / "data" / "manifests")
        return copy

    def fill_in(self, copy):
        """What people do by README.md."""
        path = copy / "config" / "test.toml"
        lines = path.read_text(encoding="utf-8").splitlines()
        for key, value in SETTING.items():
            index, = [number for number, line in enumerate(lines) if re.match(rf"{key} *=", line)]
            lines[index] = f"{key} = {value}"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        (copy / "config" / "test.env").write_text("AWS_PROFILE=mine\nnot finished\n", encoding="utf-8")
        for name, text in (("my.local.toml", 'base = "test.toml"\n[aws]\nbucket = "mine"\n'),
                           ("my.local.env", "AWS_ACCESS_KEY_ID=mine\nAWS_SECRET_ACCESS_KEY=mine\n"),
                           ("half-written.local.toml", "[aws\n"), ("mine.toml", 'base = "test.toml"\n')):
            (copy / "config" / name).write_text(text, encoding="utf-8")

    def test_the_other_tests_pass_beside_what_people_keep_in_the_tree(self):
        copy = self.copy()
        self.fill_in(copy)
        before = {path: path.lstat().st_mtime_ns for path in copy.parent.rglob("*")}
        for path in [*before, copy.parent]:
            path.chmod(0o555 if path.is_dir() or path.suffix == ".py" else 0o444)
        home = self.directory / "home"
        home.mkdir()
        home.chmod(0o777)
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "AWS_PROFILE": "mine",
                       "AWS_ENDPOINT_URL": "https://s3.example.org", "BTRFS_TO_S3_CMD": '["/usr/bin/mine"]',
                       "https_proxy": "http://127.0.0.1:1"}
        try:
            done = subprocess.run([sys.executable, "-B", "-m", "unittest", "discover", "-s", str(copy / "unit")],
                                  cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=500,
                                  **somebody_else())
        finally:
            for path in [copy.parent, *before]:
                if path.is_dir():
                    path.chmod(0o755)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"Ran \d{2,} tests")
        self.assertEqual({path: path.lstat().st_mtime_ns for path in copy.parent.rglob("*")}, before)


if __name__ == "__main__":
    unittest.main()
