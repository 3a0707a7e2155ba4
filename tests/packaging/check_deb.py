#!/usr/bin/python3
"""Makes the Debian package and looks into it:  check_deb.py BUILD_DIR

Its contents, its dependencies, lintian (no error, no warning; left out, and said, where it is not
installed), and the configuration it installs, which must be refused until it is filled in.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
CONTENTS = {
    "etc/btrfs_to_s3/config.toml", "usr/bin/btrfs_to_s3",
    "usr/lib/systemd/system/btrfs_to_s3.service", "usr/lib/systemd/system/btrfs_to_s3.timer",
    "usr/lib/systemd/system/btrfs_to_s3-failure@.service",
    "usr/lib/systemd/system/btrfs_to_s3-verify.service", "usr/lib/systemd/system/btrfs_to_s3-verify.timer",
    "usr/share/man/man1/btrfs_to_s3.1.gz", "usr/share/man/man5/btrfs_to_s3.toml.5.gz",
    "usr/share/bash-completion/completions/btrfs_to_s3", "usr/share/fish/vendor_completions.d/btrfs_to_s3.fish",
    "usr/share/zsh/vendor-completions/_btrfs_to_s3",
    "usr/share/doc/btrfs-to-s3/README.md", "usr/share/doc/btrfs-to-s3/config.toml",
    "usr/share/doc/btrfs-to-s3/docs/format.md", "usr/share/doc/btrfs-to-s3/docs/moving.md", "usr/share/doc/btrfs-to-s3/docs/reference.md",
    "usr/share/doc/btrfs-to-s3/docs/operations.md",
    "usr/share/doc/btrfs-to-s3/docs/recovery.md", "usr/share/doc/btrfs-to-s3/docs/reliability.md",
    "usr/share/doc/btrfs-to-s3/docs/security.md",
    "usr/share/doc/btrfs-to-s3/copyright", "usr/share/doc/btrfs-to-s3/changelog.gz",
    "usr/share/doc/btrfs-to-s3/changelog.Debian.gz", "usr/share/lintian/overrides/btrfs-to-s3",
}
NEEDED = ("btrfs-progs", "ca-certificates", "libc6", "libcurl4", "libssl3", "liburing2")


def run(*command, expect=0, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=600, **options)
    if done.returncode != expect:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {done.returncode}, not {expect}\n{done.stdout}")
    return done.stdout


def make(build, directory):
    """The package, in `directory`."""
    run("cpack", "--config", build / "CPackConfig.cmake", "-G", "DEB", "-B", directory, cwd=build)
    package, = directory.glob("*.deb")
    return package


def main():
    build = pathlib.Path(sys.argv[1])
    missing = [name for name in ("cpack", "dpkg-deb", "dpkg-shlibdeps") if not shutil.which(name)]
    if missing:
        print(f"skipped: not installed: {' '.join(missing)}")
        return SKIP
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        package = make(build, directory)
        assert re.fullmatch(r"btrfs-to-s3_[0-9.]+-1_[a-z0-9]+\.deb", package.name), package.name
        fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "-f", package).splitlines()
                      if re.match(r"[A-Z]\S+: ", line))
        # Newer releases have names ending in t64, for the wider time_t.
        found = {word.split()[0].removesuffix("t64") for word in fields["Depends"].split(", ")}
        assert found >= set(NEEDED), f"the package does not depend on {set(NEEDED) - found}"

        root = directory / "root"
        run("dpkg-deb", "-x", package, root)
        files = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
        assert files == CONTENTS, f"missing: {CONTENTS - files}; not expected: {files - CONTENTS}"
        for unit, command in (("btrfs_to_s3", "backup"), ("btrfs_to_s3-verify", "verify")):
            assert f"ExecStart=/usr/bin/btrfs_to_s3 {command} --config /etc/btrfs_to_s3/config.toml\n" in \
                (root / f"usr/lib/systemd/system/{unit}.service").read_text(encoding="utf-8"), unit
        config = root / "etc/btrfs_to_s3/config.toml"
        assert config.stat().st_mode & 0o777 == 0o600, "others may read the configuration"
        said = run(root / "usr/bin/btrfs_to_s3", "plan", "--config", config, expect=2,
                   env={"PATH": os.environ["PATH"], "HOME": name})
        for key in ("subvolumes.paths", "s3.bucket", "s3.region", "s3.prefix"):
            assert f"{key} is missing" in said, said
        assert said.count(" | ") == 3, f"more than those is wrong: {said}"

        if not shutil.which("lintian"):
            print("lintian is not installed: left out")
            return 0
        said = run("lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", package)
        assert not re.search(r"^[EW]:", said, re.MULTILINE), said
    return 0


if __name__ == "__main__":
    sys.exit(main())
