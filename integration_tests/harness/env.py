"""The environment: test.env, what a process of the tool is given, and whose files those of run/ are in the end."""
import os
import pathlib
import re
import shlex

from .assertions import HarnessError

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What changes how a client finds credentials, endpoints and certificate authorities.
CLOUD = re.compile(r"(AWS_|AMAZON_|CURL_CA_BUNDLE$|SSL_CERT_|REQUESTS_CA_BUNDLE$)|.*_proxy$", re.IGNORECASE)


def read_file(path):
    """NAME=VALUE lines, with the quotes of a shell; empty values are as if they were not there."""
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


def hand_over(directory):
    """Gives what root made to the user who called sudo. Other filesystems mounted below are left alone."""
    if os.geteuid() != 0 or not os.environ.get("SUDO_UID", "").isdigit() or not directory.is_dir():
        return
    user, group = int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", "-1"))
    device = directory.stat().st_dev
    os.chown(directory, user, group)
    for parent, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if os.lstat(os.path.join(parent, name)).st_dev == device]
        for name in folders + files:
            os.chown(os.path.join(parent, name), user, group, follow_symlinks=False)
