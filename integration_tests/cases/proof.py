"""Cases of incrementals that `btrfs receive` would refuse: found before they are published, whatever made them."""
import json
import pathlib
import re
import subprocess

from histories.random_history import Tree
from recovery import behind_proxy
from sealing import make_identity
from world import case, dataset, says

INSERT = pathlib.Path(__file__).resolve().parent.parent / "harness" / "insert_commands.py"


def spoiled_incrementals(w, *commands):
    """Senders of an environment whose incrementals have these commands, too."""
    words = " ".join(f"'{one}'" for one in commands)
    return w.fake_btrfs(f'if [[ " $* " == *" -p "* ]]; then "$REAL" "$@" | /usr/bin/python3 -B {INSERT} {words}\n'
                        'else exec "$REAL" "$@"; fi')


def nothing_of_the_incremental(w):
    assert w.pointer()["kind"] == "full", w.pointer()
    left = [key for key in w.bucket.list() if "/incremental/" in key]
    assert not left, left
    assert w.journals() == [] and w.bucket.open_uploads() == []


def kept(w):
    """The text and the description that were kept last."""
    directory = w.directory / "state" / "state.refused"
    text, = sorted(directory.glob("*.txt"))[-1:]
    return text.read_text(encoding="utf-8"), subprocess.run(
        ["zstd", "-dc", text.with_suffix(".zst")], check=True, capture_output=True).stdout


def restored_is_the_source(w, name, *identity):
    w.restore("--target", str(w.restored / name), *identity)
    w.same(w.data, w.restored / name)


@case
def an_incremental_that_receive_would_refuse_is_replaced_by_a_full(w):
    dataset.seed(w.data, large_mib=4, small_files=50)
    w.backup()
    for number, (command, problem) in enumerate((
            ("rename:not-there:behind", 'there is no "not-there"'),
            ("mkdir:empty", '"empty" is there already'),
            ("unlink:src", '"src" is a directory'))):
        (w.data / f"more{number}").write_text("more")
        outcome = w.backup("--json", environment=spoiled_incrementals(w, command))
        says(outcome, "event=proof_refused", problem.replace('"', '\\"'), "reason=proof_refused", "kind=full")
        one, = json.loads(outcome.stdout)["subvolumes"]
        backup, = one["backups"]
        assert (one["reason"], backup["kind"], backup["proven"]) == ("proof_refused", "full", None), one
        nothing_of_the_incremental(w)
        text, records = kept(w)
        assert problem in text and f"more{number}".encode() in records, text
    restored_is_the_source(w, "full")
    (w.data / "last").write_text("last")
    one, = json.loads(w.backup("--json").stdout)["subvolumes"]
    assert one["backups"][0]["kind"] == "incremental" and one["backups"][0]["proven"] is True, one
    restored_is_the_source(w, "incremental")
    w.expect(0, w.tool.run("verify"))


@case
def a_refused_incremental_of_a_killed_run_is_replaced_when_it_goes_on(w):
    """Sealed, so that the description is one of its own; and killed with parts uploaded."""
    identity, recipient = make_identity(w, "identity.txt")
    w.tool.tables["encryption"] = {"recipients": [recipient]}
    w.backup()
    dataset.seed(w.data, large_mib=20, small_files=20)
    spoiled = spoiled_incrementals(w, "unlink:not-there")
    with behind_proxy(w) as between:
        w.kill_at(between, method="PUT", query="partNumber=2&", number=2, environment=spoiled)
        assert w.journals()
        outcome = w.backup(environment=spoiled)
        says(outcome, "action=resume", "event=proof_refused", "reason=proof_refused")
        nothing_of_the_incremental(w)
        restored_is_the_source(w, "data", "--identity", str(identity))


def five_links(w, problem):
    """A full and incrementals that nobody proved, of which the third link has this command, too; the keys of their manifests."""
    w.tool.tables["index"] = {"prove": False}
    dataset.seed(w.data, large_mib=4, small_files=50)
    keys = []
    for link in range(1, 6):
        (w.data / f"of-link-{link}").write_text("more")
        w.backup(*(["--full"] if link == 1 else []), environment=spoiled_incrementals(w, problem) if link == 3 else None)
        keys.append(w.pointer()["manifest_key"])
    assert "/full/" in keys[0] and all("/incremental/" in key for key in keys[1:]), keys
    return keys


@case
def verify_finds_in_the_bucket_what_receive_would_refuse(w):
    """And `btrfs receive` refuses just that, at the same command; the backup before it restores."""
    keys = five_links(w, "rename:not-there:behind")
    cache = ["--cache-dir", str(w.directory / "cache")]
    w.expect(0, w.tool.run("verify"))
    for mode in (["--prove"], ["--prove", "--sample", "3"], ["--deep"]):
        told = w.expect(4, w.tool.run("verify", *mode, *cache))
        says(told, "event=proof_refused", f"manifest={keys[2]}")
        assert "`btrfs receive` would take 2 of 5 backups" in told.stdout, told
        assert f"{keys[2]}: damaged" in told.stdout and 'there is no "not-there"' in told.stdout, told
        assert all(f"{key}: is sound, and rests on a damaged backup" in told.stdout for key in keys[3:]), told
        assert "can still be restored: 2 of 5 backups" in told.stdout and f"--manifest-key {keys[1]}" in told.stdout, told
    command, = re.findall(r"would refuse (command \d+ \(rename not-there -> behind\) at byte \d+)", told.stdout)
    says(w.restore("--target", str(w.restored / "five"), expect=1), f"refused {keys[2]}", command)
    w.restore("--target", str(w.restored / "two"), "--manifest-key", keys[1])
    # Without a proof it is known all the same; and the next backup is a full, as the last line says.
    known = w.expect(4, w.tool.run("verify")).stdout
    assert "known " in known and "backup --full --subvolume data" in known, known
    one, = json.loads(w.backup("--json").stdout)["subvolumes"]
    assert (one["reason"], one["backups"][0]["kind"]) == ("receive_refused", "full"), one
    restored_is_the_source(w, "again")
    told = json.loads(w.expect(4, w.tool.run("verify", "--prove", "--json", *cache)).stdout)
    seen = {backup["manifest_key"]: (backup["receivable"], backup["restorable"]) for backup in told["subvolumes"][0]["backups"]}
    assert seen == {keys[0]: (True, True), keys[1]: (True, True), keys[2]: (False, False), keys[3]: (None, False),
                    keys[4]: (None, False), w.pointer()["manifest_key"]: (True, True)}, seen


@case
def verify_proves_sealed_chains_with_an_identity_and_each_once(w):
    identity, recipient = make_identity(w, "identity.txt")
    w.tool.tables["encryption"] = {"recipients": [recipient]}
    dataset.seed(w.data, large_mib=4, small_files=50)
    for link in range(3):
        (w.data / f"of-link-{link}").write_text("more")
        w.backup()
    mine = ["--cache-dir", str(w.directory / "cache")]
    told = w.expect(0, w.tool.run("verify", "--prove", *mine)).stdout
    assert "would take 0 of 3 backups" in told and "1 backup sealed, and no identity was given" in told, told
    told = w.expect(0, w.tool.run("verify", "--prove", "--identity", str(identity), *mine)).stdout
    assert "would take 3 of 3 backups" in told, told
    plain, proven = (json.loads(w.expect(0, w.tool.run("verify", "--json", *more)).stdout)["requests"]
                     for more in ([], ["--prove", *mine]))
    assert proven == plain + 1, (plain, proven)


@case
def histories_that_send_gets_wrong_are_backed_up_and_restored(w):
    """Directories and hard links that change places; on some kernels a few of these incrementals cannot be received."""
    w.tool.tables["snapshots"]["retain"] = 1
    kinds = []
    for seed in SEEDS:
        tree = Tree(w.data, seed)
        tree.change(80, Tree.NASTY)
        w.backup("--full")
        for link in range(2, 7):
            tree.change((5, 20, 60)[(seed + link) % 3], Tree.NASTY)
            outcome = w.backup()
            assert "event=not_proven" not in outcome.stderr, outcome
            assert ("event=proof_refused" in outcome.stderr) == (w.pointer()["kind"] == "full"), outcome
            kinds.append(w.pointer()["kind"])
        restored_is_the_source(w, f"data{seed}")
        subprocess.run(["find", str(w.data), "-mindepth", "1", "-delete"], check=True)
    print(f"{kinds.count('full')} of {len(kinds)} incrementals were replaced by fulls")


SEEDS = (1, 2, 3)
