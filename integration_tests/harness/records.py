"""What the source of a backup looked like when it was made: a description of its tree, filed by the manifest's key.

It is taken from the live subvolume, which nothing changes meanwhile, and shares nothing with the tool: neither its
snapshots nor its manifests have to be right for a restored tree to be judged.
"""
import hashlib

from . import compare
from .assertions import require


def path_of(settings, manifest_key):
    return settings.paths.scratch / "trees" / (hashlib.sha256(manifest_key.encode()).hexdigest()[:24] + ".json")


def record(settings, subvolume, manifest_key):
    compare.save(compare.describe(settings.subvolume(subvolume)), path_of(settings, manifest_key))


def recorded(settings, manifest_key):
    path = path_of(settings, manifest_key)
    require(path.exists(), f"no description of the source of {manifest_key} was recorded: was it backed up by "
                           "run_full.py, run_incremental.py or their like?")
    return compare.load(path)
