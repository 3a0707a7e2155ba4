"""The environment: test.env, what a process of the tool is given, and whose files those of run/ are in the end."""
import os
import pathlib
import pwd
import re
import shlex

from .assertions import HarnessError

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What changes how a client finds credentials, endpoints and certificate authorities.
CLOUD = re.compile(r"(AWS_|AMAZON_|CURL_CA_BUNDLE$|SSL_CERT_|REQUESTS_CA_BUNDLE$)|.*_proxy$", re.IGNORECASE)


def read_file(path):
    """NAME=VALUE lines, with the quotes of a shell and perhaps its "export"; empty values are as if they were not there."""
    path, found = pathlib.Path(path), {}
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise HarnessError(f"{path}: {problem.strerror}") from problem
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as problem:
            raise HarnessError(f"{path}:{number}: {problem}") from problem
        if words[:1] == ["export"]:
            words = words[1:]
        if not words:
            continue
        name, equals, value = words[0].partition("=")
        if len(words) > 1 or not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise HarnessError(f"{path}:{number}: must be NAME=VALUE, with quotes where the value has spaces")
        if value:
            found[name] = value
    return found


def plain():
    """This process's environment without what would lead a client to somebody's cloud."""
    return {name: value for name, value in os.environ.items() if not CLOUD.match(name)}


def for_tool(settings, cloud, credentials=None):
    """For a process of the tool: the credentials, if given, or else those of the cloud's variables and of the home."""
    home = os.environ.get("HOME", "/root") if credentials is None else str(settings.paths.run)
    result = {"PATH": SEARCH, "HOME": home, "LANG": "C.UTF-8", "BTRFS_TO_S3_HARNESS_RUN_DIR": str(settings.paths.run)}
    if credentials is None:
        return {**result, **cloud}
    return {**result, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": credentials[0],
            "AWS_SECRET_ACCESS_KEY": credentials[1]}


def caller():
    """(user, group) of whoever called sudo; None where nobody did."""
    if os.geteuid() != 0 or not os.environ.get("SUDO_UID", "").isdigit():
        return None
    user, group = int(os.environ["SUDO_UID"]), os.environ.get("SUDO_GID", "")
    if group.isdigit():
        return user, int(group)
    try:
        return user, pwd.getpwuid(user).pw_gid
    except KeyError:
        return user, -1


def make(directory):
    """The directory, with those above it. Each that is made here is the caller's at once, however the run ends."""
    if not directory.is_dir():
        make(directory.parent)
        try:
            directory.mkdir(exist_ok=True)
        except OSError as problem:
            raise HarnessError(f"{directory} cannot be made: {problem.strerror}") from problem
        owner = caller()
        if owner:
            os.chown(directory, *owner)


def hand_over(directory):
    """Gives what root made to the user who called sudo. Returns lines that say what could not be given."""
    return given(directory, caller())


def take_back(directory):
    """Makes what was handed over root's again: the tool takes no lock and no spool of anybody else."""
    return given(directory, caller() and (0, 0))


def given(directory, owner):
    """All of a directory to that user and group, nothing where there is none. Other filesystems mounted below are left
    alone; what vanishes meanwhile is no concern."""
    problems = []
    if owner is None or not directory.is_dir():
        return problems

    def failed(problem, path=None):
        if not isinstance(problem, FileNotFoundError):
            problems.append(f"{path or problem.filename}: {problem.strerror}")

    device = directory.stat().st_dev
    try:
        os.chown(directory, *owner)
    except OSError as problem:
        failed(problem, directory)
    for parent, folders, files, here in os.fwalk(directory, onerror=failed):
        below = []
        for name in folders + files:
            try:
                # Files of an overlay may have the device of a layer; that of a directory tells.
                if name in folders:
                    if os.stat(name, dir_fd=here, follow_symlinks=False).st_dev != device:
                        continue
                    below.append(name)
                os.chown(name, *owner, dir_fd=here, follow_symlinks=False)
            except OSError as problem:
                failed(problem, os.path.join(parent, name))
        folders[:] = below
    return problems
