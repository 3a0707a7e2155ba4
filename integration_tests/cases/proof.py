"""Cases of incrementals that `btrfs receive` would refuse: found before they are published, whatever made them."""
import json
import pathlib
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
