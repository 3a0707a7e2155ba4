#!/usr/bin/python3
"""A real shell completes btrfs_to_s3 by cmake/packaging/completion.*:  check_completion.py ROOT BINARY bash|zsh|fish

What is offered for a command has to be what its --help has. Dates of a bucket are an end-to-end case's.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from check_documentation import all_commands, help_commands, help_options

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "integration_tests"))
from harness import shells  # noqa: E402

SKIP = 77


def help_of(binary, *command):
    return subprocess.run([binary, *command, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout


def main():
    root, binary, shell = pathlib.Path(sys.argv[1]), os.path.realpath(sys.argv[2]), sys.argv[3]
    if not shutil.which(shell):
        print(f"skipped: {shell} is not installed")
        return SKIP
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        (directory / "bin").mkdir()
        (directory / "bin" / "btrfs_to_s3").symlink_to(binary)
        (directory / "a folder").mkdir()
        (directory / "a file").touch()
        config = directory / "config.toml"
        config.write_text("[subvolumes]\npaths = [\"/srv/data\", {name = \"my mail\", path = \"/m\"}, \"/srv/it's\"]\n"
                          "[s3]\nbucket = \"b\"\nregion = \"r\"\nprefix = \"p\"\n", encoding="utf-8")
        offered = shells.Shell(shell, root, directory).offered
        commands = help_commands(help_of(binary))
        assert set(offered("")) == commands, (offered(""), commands)
        assert offered("bac") == ["backup"], offered("bac")
        assert set(offered("keys ")) == help_commands(help_of(binary, "keys")), offered("keys ")
        for words in all_commands(lambda *words: help_of(binary, *words)):
            command = " ".join(words)
            options = set(help_options(help_of(binary, *words)))
            found = set(offered(f"{command} --"))
            assert found >= options and not found - options - {"--help"}, (command, found ^ options)
            assert set(offered(f"--log-format json {command} --")) == found, command
        assert offered("backup --log-level w") == ["warning"], offered("backup --log-level w")
        assert offered("restore --verify ") == ["full", "sample", "none"], offered("restore --verify ")
        names = offered(f"backup --config {config} --subvolume ")
        assert names == ["data", "my mail", "it's"], names
        assert offered(f"backup --config {config} --subvolume my") == ["my mail"]
        assert offered("backup --config /no/such --subvolume ") == []
        assert [word.rstrip("/") for word in offered("restore --target a")] == ["a folder"], offered("restore --target a")
        assert {word.rstrip("/") for word in offered("keys show a")} == {"a folder", "a file"}, offered("keys show a")
        assert {word.rstrip("/") for word in offered("--config a")} == {"a folder", "a file"}, offered("--config a")
    return 0


if __name__ == "__main__":
    sys.exit(main())
