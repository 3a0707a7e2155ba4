#!/usr/bin/python3
"""The units as systemd itself judges them.

  check_units.py DIR BINARY verify      nothing to complain about: no unknown key, no missing program
  check_units.py DIR BINARY config      each service names the configuration that it reads
  check_units.py DIR BINARY security    exposure of the services below 4.0 of 10 (systemd's own table)
  check_units.py DIR BINARY self-test   both checks find planted faults

DIR holds the units, some of them with a place to be filled in (.in); BINARY stands in for the program.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
THRESHOLD = 40  # tenths; what runs "btrfs send" as root cannot come near 0
MAIN = "btrfs_to_s3"
CONFIG = ["--config", "/etc/btrfs_to_s3/config.toml"]
SERVICES = (MAIN, f"{MAIN}-verify")
UNITS = {**{f"{name}.{kind}": f"{name}.{kind}" for name in SERVICES for kind in ("service", "timer")},
         # A template is verified as the instance that the services name.
         f"{MAIN}-failure@.service": f"{MAIN}-failure@{MAIN}.service"}


def copy_units(source, binary, target):
    """`binary` takes the place of the program, which is not installed."""
    for name in UNITS:
        file = source / name
        file = file if file.exists() else source / (name + ".in")
        lines = file.read_text(encoding="utf-8").splitlines()
        for index, line in enumerate(lines):
            if line.startswith("ExecStart=") and line.split("=", 1)[1].split()[0].endswith("/" + MAIN):
                words = line.split("=", 1)[1].split()
                lines[index] = "ExecStart=" + " ".join([str(binary), *words[1:]])
        (target / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def analyze(*arguments):
    done = subprocess.run(["systemd-analyze", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=60)
    return done.returncode, done.stdout


def verify(directory):
    """Also what it only prints is a fault: unknown keys leave the exit status at 0."""
    status, said = analyze("verify", "--man=no", *(str(directory / name) for name in UNITS.values()))
    if status != 0 or said:
        print(f"systemd-analyze verify: exit status {status}\n{said}")
        return 1
    return 0


def security(directory):
    failed = 0
    for name in SERVICES:
        status, said = analyze("security", "--no-pager", "--offline=true", f"--threshold={THRESHOLD}",
                               str(directory / f"{name}.service"))
        print(said.splitlines()[-1] if said else "systemd-analyze security said nothing")
        if status != 0:
            print(said)
            failed = 1
    return failed


def config(directory):
    """Whoever reads the unit sees which file counts, whatever the program's own default is."""
    failed = 0
    for name in SERVICES:
        lines = (directory / f"{name}.service").read_text(encoding="utf-8").splitlines()
        commands = [line.split("=", 1)[1].split() for line in lines if line.startswith("ExecStart=")]
        if len(commands) != 1 or commands[0][2:] != CONFIG:
            print(f"{name}.service: ExecStart must end in {' '.join(CONFIG)}: {commands}")
            failed = 1
    return failed


def self_test(directory):
    service = directory / f"{MAIN}.service"
    sound = service.read_text(encoding="utf-8")
    loose = "\n".join(line for line in sound.splitlines()
                      if not line.startswith(("Protect", "Restrict", "Capability", "SystemCall", "Private")))
    faults = [(verify, sound.replace("KillMode=", "KilMode=")),
              (verify, sound.replace("ExecStart=", "ExecStart=/nowhere/")),
              (config, sound.replace("/etc/btrfs_to_s3/config.toml", "/etc/btrfs_to_s3.toml")),
              (config, sound.replace(" ".join(["", *CONFIG]), "")),
              (verify, sound.replace("TimeoutStopSec=60", "TimeoutStopSec=soon")),
              (security, loose)]
    for check, text in faults:
        service.write_text(sound, encoding="utf-8")
        if check(directory) != 0:
            return 1
        assert text != sound
        service.write_text(text, encoding="utf-8")
        if check(directory) != 1:
            print(f"{check.__name__} did not find the planted fault")
            return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("check", choices=["verify", "config", "security", "self-test"])
    arguments = parser.parse_args()
    if not shutil.which("systemd-analyze"):
        print("skipped: systemd-analyze is not installed (package systemd)")
        return SKIP
    with tempfile.TemporaryDirectory() as directory:
        target = pathlib.Path(directory)
        copy_units(arguments.directory, arguments.binary.resolve(), target)
        checks = {"verify": verify, "config": config, "security": security, "self-test": self_test}
        return checks[arguments.check](target)


if __name__ == "__main__":
    sys.exit(main())
