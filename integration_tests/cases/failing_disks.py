"""Cases of restores onto a disk that fails: exit status 0 means that every byte is there."""
import base64
import os

from world import MIB, btrfs, case, says

from harness.failing_disk import failing_filesystem

EIO = {"op": "write", "what": "data", "after": 10 * MIB, "error": "EIO"}
ENOSPC = {**EIO, "error": "ENOSPC"}
FIVE = {**EIO, "count": 5}
FLIPS = {"op": "read", "what": "data"}
FLIPPED_TREE = {"op": "read", "what": "metadata", "after": MIB}


def text(mib):
    """Compresses to three quarters."""
    return base64.b64encode(os.urandom(mib * MIB * 3 // 4))


def back_up(w, protocol):
    """30 MiB in 6 files, compressed, and an incremental of 4 MiB that writes over what its parent had."""
    w.filesystem.remount("compress-force=zstd")
    w.tool.tables["btrfs"] = {"send_protocol": protocol}
    w.tool.tables["snapshots"]["retain"] = 5
    w.tool.tables["s3"].update(chunk_size_bytes="64MiB")
    for number in range(6):
        (w.data / f"file{number}").write_bytes(text(5))
    w.backup()
    return [w.pointer()["manifest_key"]]


def back_up_more(w, keys):
    with open(w.data / "file2", "r+b") as file:
        file.write(text(4))
    w.backup()
    keys.append(w.pointer()["manifest_key"])


def forget_the_source(w):
    for name in w.snapshot_names():
        btrfs.delete_subvolume(w.snapshots / name)


def onto(w, name, rules, *arguments, options="noatime", mkfs=(), rerun=True, before=None):
    """Restores onto a disk with these rules; whatever it says is true, and once the disk is well the same command works.
    Returns the outcome on the failing disk."""
    with failing_filesystem(w.directory / name, options=options, mkfs=mkfs) as (disk, mount):
        target = mount / "data"
        if before:
            before(disk, mount)
        disk.rules(*rules)
        outcome = w.tool.run("restore", "--subvolume", "data", "--target", str(target), *arguments)
        hits = disk.hits()
        disk.rules()
        print(f"{name}: exit status {outcome.status}, rules have bitten {hits} times", flush=True)
        if outcome.status == 0:
            w.same(w.data, target)
        else:
            assert outcome.status in (1, 4), outcome
            assert "/proc/driver" not in outcome.stderr + outcome.stdout, outcome
            assert not target.exists(), outcome
        if outcome.status != 0 and rerun:
            again = w.restore("--target", str(target))
            w.same(w.data, target)
            assert [path.name for path in mount.iterdir()] == ["data"], list(mount.iterdir())
            outcome.again = again
        outcome.hits = hits
    return outcome


def matrix(w, encoded, name):
    """The disk's failures, one after the other."""
    permanent = onto(w, f"{name}-eio", [EIO])
    says(permanent, "disk refused", "/dev/loop", "Input/output error")
    assert permanent.status == 1 and min(permanent.hits) > 0, permanent
    full = onto(w, f"{name}-enospc", [ENOSPC])
    assert full.status == 1 and min(full.hits) > 0, full
    five = onto(w, f"{name}-five", [FIVE])
    assert five.hits == [5], five
    if encoded:
        # Received once more at once, by ordinary writes.
        assert five.status == 0, five
        says(five, "link_received_again", "are not on the target's disk", "target_device_errors", "5 writes")
    else:
        assert five.status == 1, five
        says(five, "disk refused")
    onto(w, f"{name}-flips", [FLIPS])


@case
def restore_onto_a_failing_disk_is_no_success_with_compressed_data(w):
    back_up(w, 2)
    matrix(w, True, "source-here")
    forget_the_source(w)
    matrix(w, True, "source-gone")


@case
def restore_onto_a_failing_disk_is_no_success_with_plain_data(w):
    back_up(w, 1)
    matrix(w, False, "source-here")
    forget_the_source(w)
    matrix(w, False, "source-gone")


@case
def restore_of_an_incremental_onto_a_failing_disk_keeps_the_link_before(w):
    """Writes that are lost leave what the parent had in their place."""
    keys = back_up(w, 2)
    back_up_more(w, keys)
    forget_the_source(w)
    rule = {**EIO, "after": 24 * MIB}  # 30 MiB are 23 compressed: in the second link
    outcome = onto(w, "incremental", [rule])
    assert outcome.status == 1 and min(outcome.hits) > 0, outcome
    says(outcome, keys[1], "link_received_again")
    says(outcome.again, "links_kept_from_before", "links=1")
    outcome = onto(w, "incremental-five", [{**rule, "count": 5}])
    assert outcome.status == 0, outcome
    says(outcome, "link_received_again")


@case
def restore_onto_a_failing_disk_that_compresses_or_has_other_checksums(w):
    back_up(w, 2)
    forget_the_source(w)
    for name, how in (("compresses", {"options": "compress-force=zstd"}), ("xxhash", {"mkfs": ("--csum", "xxhash")}),
                      ("unchecked", {"options": "nodatasum"})):
        whole = onto(w, name + "-whole", [], **how)
        assert whole.status == 0, whole
        # Where the kernel takes no encoded write, they are ordinary ones.
        assert ("link_received_again" in whole.stderr) == (name == "unchecked"), whole
        assert onto(w, name + "-eio", [EIO], **how).status == 1
        assert onto(w, name + "-five", [FIVE], **how).status in (0, 1)


@case
def restore_onto_a_disk_whose_tree_fails(w):
    """What no data's checksum sees: tree blocks, the last sync, and the steps after it."""
    back_up(w, 2)
    forget_the_source(w)
    tree = {"op": "write", "what": "metadata", "after": 0, "error": "EIO"}
    outcome = onto(w, "tree", [tree], rerun=False)  # read-only from then on
    assert outcome.status == 1, outcome
    outcome = onto(w, "flush", [{"op": "flush", "error": "EIO"}], rerun=False)
    assert outcome.status == 1, outcome
    onto(w, "tree-flips", [FLIPPED_TREE])
