"""Restoring subvolumes below settings.targets, and remembering what was restored there."""
import json

from . import backups, btrfs
from .assertions import require


def notes(settings):
    return settings.paths.scratch / "restored.json"


def restored(settings):
    """{subvolume: {"target", "manifest_key"}} of what lies restored."""
    path = notes(settings)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def remove(target):
    """A target must not exist."""
    if target.exists():
        btrfs.delete_subvolume(target)


def make_room(settings, name, target):
    """Removes what an earlier restore of the harness left at a target; anything else there is not ours."""
    if target.exists() and target != settings.targets / name:
        require(restored(settings).get(name, {}).get("target") == str(target),
                f"{target} is there already, and was not restored there from {name} last; name another target")
    remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)


def arguments_of(settings, name, manifest_key=None, verify="full", target=None):
    which = ("--manifest-key", manifest_key) if manifest_key else ("--current",)
    return ("restore", "--subvolume", name, "--target", str(target or settings.targets / name), *which, "--verify", verify)


def note(settings, name, manifest_key, target):
    content = restored(settings)
    content[name] = {"target": str(target), "manifest_key": manifest_key}
    notes(settings).write_text(json.dumps(content, indent=1), encoding="utf-8")


def restore(this, name, manifest_key=None, verify="full", more=(), target=None):
    """Of this backup, or of the newest, to this target, or to that of its name; an earlier restored tree that is there
    is deleted. Returns how the tool ran."""
    target = target or this.settings.targets / name
    key = manifest_key or backups.pointers(this, [name])[name]
    require(key, f"{name} was not backed up yet: run run_full.py first")
    make_room(this.settings, name, target)
    outcome = this.runner().check(*arguments_of(this.settings, name, manifest_key, verify, target), *more)
    require(target.is_dir(), f"the tool exited with status 0, but {target} is not there")
    note(this.settings, name, key, target)
    this.log.say(f"  {target}: {key}")
    return outcome
