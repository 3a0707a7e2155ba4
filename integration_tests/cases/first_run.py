"""Cases of init: asked at a terminal, given as options, answered wrongly, and left in the middle."""
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import time
import tomllib

from screens import screen, settle
from world import case, dataset, shells, terminal, tmux

SECRET_TYPED_WRONG = "wrong/secret+value"


def keyless(w):
    """The environment of somebody who has no keys yet."""
    return {name: value for name, value in w.tool.environment.items() if not name.startswith("AWS_") or
            name == "AWS_EC2_METADATA_DISABLED"}


def answers(w, output, **changed):
    """Options that answer everything."""
    given = {"--subvolume": str(w.data), "--snapshots": str(w.snapshots), "--endpoint-url": w.bucket.endpoint,
             "--bucket": w.bucket.name, "--prefix": "hosts/test", "--output": str(output)}
    given.update({"--" + name.replace("_", "-"): value for name, value in changed.items()})
    return [word for name, value in given.items() if value is not None for word in (name, str(value))]


def init(w, *arguments, expect=0, environment=None):
    done = subprocess.run([w.tool.binary, "init", *arguments], env=environment or w.tool.environment, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
    return done


def read(path):
    return tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def left(w):
    return sorted(str(path) for path in w.directory.rglob("*") if not path.is_relative_to(w.mount))


@case
def init_takes_options_and_ends_in_doctor_and_the_plan(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    output = w.directory / "new" / "first.toml"
    subvolumes = w.filesystem.subvolumes()
    done = init(w, *answers(w, output))
    assert stat.S_IMODE(output.stat().st_mode) == 0o644, output.stat()
    written = read(output)
    assert written["subvolumes"]["paths"] == [str(w.data)] and written["s3"] == {
        "endpoint_url": w.bucket.endpoint, "bucket": w.bucket.name, "region": "us-east-1", "prefix": "hosts/test",
        "storage_class_chunks": "STANDARD"}, written
    assert written["snapshots"]["base_dir"] == str(w.snapshots), written
    assert written["schedule"] == {"full_every_days": 180, "incremental_every_days": 7}, written
    for words in ("is written", "0 checks failed" if "0 checks failed" in done.stdout else "ok", "first_backup",
                  f"btrfs_to_s3 backup --config {output}"):
        assert words in done.stdout, (words, done.stdout)
    assert w.bucket.list() == {} and w.filesystem.subvolumes() == subvolumes
    # As it stands it makes a backup.
    tables = {"global": {"state_path": f"{w.directory}/state/state.json", "lock_path": f"{w.directory}/lock/lock"}}
    environment = {f"BTRFS_TO_S3_{table}_{key}".upper(): value for table, keys in tables.items()
                   for key, value in keys.items()}
    subprocess.run([w.tool.binary, "backup", "--config", str(output)], env={**w.tool.environment, **environment},
                   check=True, capture_output=True, timeout=120)
    assert w.bucket.list(), "no backup was made"


@case
def init_tells_all_that_is_missing_or_wrong_at_once(w):
    output = w.directory / "first.toml"
    before = left(w)
    done = init(w, "--output", str(output), expect=2)
    for option in ("--subvolume", "--region", "--bucket"):
        assert option in done.stderr, done.stderr
    done = init(w, *answers(w, output, subvolume=w.snapshots, prefix="a//b", storage_class="", bucket=None,
                            full_every_days="0"), expect=2)
    for word in ("--bucket", "ordinary directory", "--prefix", "--full-every-days"):
        assert word in done.stderr, (word, done.stderr)
    done = init(w, *answers(w, output, snapshots=w.directory), expect=2)
    assert "Btrfs" in done.stderr, done.stderr
    done = init(w, *answers(w, output, bucket="no-such-bucket-here"), expect=2)
    assert "NoSuchBucket" in done.stderr and "--bucket" in done.stderr, done.stderr
    done = init(w, *answers(w, output), expect=1, environment={**w.tool.environment, "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert "SignatureDoesNotMatch" in done.stderr, done.stderr
    done = init(w, *answers(w, output), expect=1, environment=keyless(w))
    assert "no S3 credentials" in done.stderr, done.stderr
    done = init(w, *answers(w, output, endpoint_url="http://127.0.0.1:9"), expect=1)
    assert "127.0.0.1:9" in done.stderr, done.stderr
    assert left(w) == before, left(w)


@case
def init_writes_over_nothing_unless_it_is_forced(w):
    output = w.directory / "first.toml"
    target = w.directory / "elsewhere.toml"
    for make in (lambda: output.write_text("mine", encoding="ascii"), lambda: output.symlink_to(target),
                 lambda: output.symlink_to("/dev/null")):
        make()
        done = init(w, *answers(w, output), expect=2)
        assert "exists already" in done.stderr and "--force" in done.stderr, done.stderr
        assert output.is_symlink() or output.read_text(encoding="ascii") == "mine"
        output.unlink()
    output.symlink_to(target)
    init(w, *answers(w, output), "--force")
    assert not output.is_symlink() and not target.exists() and read(output)["s3"]["bucket"] == w.bucket.name
    done = init(w, *answers(w, w.directory), expect=2)
    assert "is a directory" in done.stderr, done.stderr
    done = init(w, *answers(w, w.directory / "no" / "such" / "first.toml"), expect=2)
    assert "does not exist" in done.stderr, done.stderr


@case
def init_keeps_hostile_names_as_they_are(w):
    names = ['it\'s "a" \\ b', "\u00fc \u65e5\u672c # x", "a=b, [c]", "$(touch x)`y`"]
    paths = [w.filesystem.subvolume(name) for name in names]
    output = w.directory / "it's \"first\".toml"
    words = answers(w, output, subvolume=None, prefix='hosts/q"u\\o\'te \u00fc', snapshots=w.mount / 'sn "ap" \\')
    done = init(w, *words, *(word for path in paths for word in ("--subvolume", str(path))),
                "--subvolume", f"other={w.data}", "--json")
    document = json.loads(done.stdout)
    assert document["version"] == 1 and document["config_path"] == str(output), document
    assert document["credentials_path"] is None and document["doctor"]["version"] == 1, document
    assert [one["subvolume"] for one in document["plan"]["subvolumes"]] == [*names, "other"], document
    # The command that is named can be given to a shell as it is.
    shown = subprocess.run(["bash", "-c", "btrfs_to_s3() { printf '%s\\n' \"$@\"; }; " + document["next"][0]],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    assert shown == ["backup", "--config", str(output)], shown
    written = read(output)
    assert written["subvolumes"]["paths"] == [*map(str, paths), {"name": "other", "path": str(w.data)}], written
    assert written["s3"]["prefix"] == 'hosts/q"u\\o\'te \u00fc' and written["snapshots"]["base_dir"].endswith('sn "ap" \\')


def questions(w):
    """(what the question ends with, an answer), to the last."""
    return [("back up", str(w.data)), ("no more): ", ""), ("Directory for snapshots [", str(w.snapshots)),
            ("URL of the store", w.bucket.endpoint), ("Region [us-east-1]: ", ""), ("which exists: ", w.bucket.name),
            ("Prefix of all keys", "hosts/test"), ("Access key ID: ", w.tool.environment["AWS_ACCESS_KEY_ID"]),
            ("(not shown): ", w.tool.environment["AWS_SECRET_ACCESS_KEY"]), ("Storage class", ""),
            ("full backup to the next [180]: ", "30"), ("incremental one [7]: ", "1"), ("[Y/n]: ", "n")]


@case
def init_is_left_at_any_question_without_a_trace(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    output = w.directory / "first.toml"
    before = left(w)
    secret = w.tool.environment["AWS_SECRET_ACCESS_KEY"]
    command = [w.tool.binary, "init", "--output", str(output)]
    asked = questions(w)
    for stops in range(len(asked)):
        for key, status in (("\x03", 130), ("\x04", 1)) if stops in (0, 8, len(asked) - 1) else (("\x03", 130),):
            with terminal.person(command, keyless(w), secrets=(secret,)) as someone:
                for shown, answer in asked[:stops]:
                    someone.see(shown)
                    someone.answer(answer)
                someone.see(asked[stops][0])
                if asked[stops][0].startswith("(not shown)"):
                    assert not someone.echoes()
                someone.press(key)
                assert someone.end() == status, someone.shown
                assert "stopped on request" in someone.shown or status == 1, someone.shown
        assert left(w) == before, (stops, left(w))
    with terminal.person(command, keyless(w), secrets=(secret,)) as someone:
        for shown, answer in asked:
            someone.see(shown)
            someone.answer(answer)
        assert someone.end() == 1 and "nothing was written" in someone.shown, someone.shown
    assert left(w) == before and w.bucket.list() == {}, left(w)
    assert not os.path.exists("/etc/btrfs_to_s3/aws_credentials")


@case
def init_asks_again_until_an_answer_is_right(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    output = w.directory / "first.toml"
    environment = {**w.tool.environment, "AWS_SECRET_ACCESS_KEY": SECRET_TYPED_WRONG}
    right = w.tool.environment["AWS_SECRET_ACCESS_KEY"]
    # Wrong options are asked for, too.
    with terminal.person([w.tool.binary, "init", "--output", str(output), "--subvolume", "/proc", "--prefix", "a/../b"],
                         environment, secrets=(right, SECRET_TYPED_WRONG)) as someone:
        someone.see("not on a Btrfs")
        for wrong, why in ((str(w.snapshots), "ordinary directory"), ("srv", "no absolute path"), ("77", "no subvolume 77"),
                           ("/no/such", "No such file")):
            someone.see("back up")
            someone.answer(wrong)
            someone.see(why)
        someone.see("back up")
        someone.answer(f"a/b={w.data}")
        someone.see("cannot be the name")
        someone.see("back up")
        someone.answer(f"name with blanks={w.data}")
        someone.see("no more): ")
        someone.answer(str(w.data))
        someone.see("no more): ")
        someone.answer("")
        someone.see("Directory for snapshots")
        someone.answer("/proc")
        someone.see("Btrfs")
        someone.see("Directory for snapshots")
        someone.answer(str(w.mount / "made" / "later"))
        someone.see("URL of the store (aws: AWS's own) [aws]: ")
        someone.answer("localhost:9000")
        someone.see("https://")
        someone.see("URL of the store")
        someone.answer("http://127.0.0.1:9")
        someone.see("Region [us-east-1]: ")
        someone.answer("")
        someone.see("which exists: ")
        someone.answer("")
        someone.see("needed")
        someone.see("which exists: ")
        someone.answer("no-such-bucket-here")
        someone.see("a/../b")  # the option's
        someone.see("Prefix of all keys")
        someone.answer("hosts/test")
        someone.see("refused")  # the connection
        someone.see("URL of the store (aws: AWS's own) [http://127.0.0.1:9]: ")
        someone.answer(w.bucket.endpoint)
        someone.see("Region [us-east-1]: ")
        someone.answer("")
        someone.see("which exists [no-such-bucket-here]: ")
        someone.answer("")
        someone.see("SignatureDoesNotMatch")
        someone.see("Access key ID: ")
        someone.answer(w.tool.environment["AWS_ACCESS_KEY_ID"])
        someone.see("(not shown): ")
        someone.answer("")
        someone.see("both are needed")
        someone.see("Access key ID: ")
        someone.answer("NOSUCHKEY")
        someone.see("(not shown): ")
        someone.answer(right)
        someone.see("InvalidAccessKeyId")
        someone.see("Access key ID [NOSUCHKEY]: ")
        someone.answer(w.tool.environment["AWS_ACCESS_KEY_ID"])
        someone.see("(not shown): ")
        someone.answer(right)
        someone.see("NoSuchBucket")
        someone.see("which exists [no-such-bucket-here]: ")
        someone.answer(w.bucket.name)
        someone.see("answers to access key")
        someone.see("Storage class of the data [STANDARD]: ")
        someone.answer("no class")
        someone.see("s3.storage_class_chunks")
        someone.see("Storage class of the data [STANDARD]: ")
        someone.answer("none")
        for unit in ("full backup to the next [180]: ", "incremental one [7]: "):
            someone.see(unit)
            someone.answer("often")
            someone.see("no number of days")
            someone.see(unit)
            someone.answer("")
        someone.see("Write ")
        someone.see("[Y/n]: ")
        someone.answer("perhaps")
        someone.see("Answer y or n")
        someone.press("\x03")
        assert someone.end() == 130
    assert not output.exists() and not os.path.exists("/etc/btrfs_to_s3/aws_credentials")


# In the screens' own namespaces: a host called alpha, an /etc and documents of its own, and no other Btrfs filesystem.
PREPARED = ("hostname alpha; mount --bind {etc} /etc; mount --bind {etc}/doc /usr/share/doc; for point in $(findmnt -rn -t btrfs -o TARGET); do "
            '[ "$point" = /srv ] || umount -l "$point"; done; ')


@case
def screens_of_init_are_as_expected(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    secret = w.tool.environment["AWS_SECRET_ACCESS_KEY"]
    for columns in tmux.ROWS:
        etc = w.directory / f"etc-{columns}"
        shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
        folder = etc / "btrfs_to_s3"
        example = etc / "doc" / "btrfs-to-s3" / "config.toml"
        example.parent.mkdir(parents=True)
        example.write_text("# the package's example\n", encoding="ascii")
        if columns == 160:
            folder.mkdir()
            shutil.copy(example, folder)
        with screen(w, columns, environment=keyless(w), prepared=PREPARED.format(etc=etc)) as shown:
            def answer(question, line, shown=shown):
                shown.wait_for_line(question)
                shown.tmux("send-keys", "-l", line)
                shown.keys("Enter")
            shown.type("btrfs_to_s3 init")
            answer("What to back up", "/srv/snapshots")
            answer("What to back up.*a path \\[2\\]:$", "")
            answer("One more", "")
            answer("Directory for snapshots \\[/srv/snapshots\\]:$", "")
            answer("URL of the store", w.bucket.endpoint)
            answer("Region", "")
            answer("Bucket", "no-such-bucket")
            answer("Prefix.*\\[hosts/alpha\\]:$", "")
            answer("Access key", w.tool.environment["AWS_ACCESS_KEY_ID"])
            answer("Secret", SECRET_TYPED_WRONG)
            answer("Access key", "")
            answer("Secret", secret)
            answer("Bucket", w.bucket.name)
            answer("Storage class", "")
            answer("Days from", "")
            answer("Days to", "1")
            shown.wait_for_line("and the keys.*aws_credentials")
            settle(w, shown, "init", (r"case-\w{12}", lambda _: "case-xxxxxxxxxxxx"),
                   (r"127\.0\.0\.1:\d+", lambda _: "127.0.0.1:ppppp"))
            assert columns == 160 or not folder.exists()
            shown.tmux("send-keys", "-l", "y")
            shown.keys("Enter")
            text = shown.wait_for_prompt()
            assert secret not in text and SECRET_TYPED_WRONG not in text, text
            assert "Next:\n  btrfs_to_s3 backup\n  systemctl enable --now btrfs_to_s3.timer\n[0] #" in text, text
            keys = folder / "aws_credentials"
            assert stat.S_IMODE(keys.stat().st_mode) == 0o600 and keys.stat().st_uid == 0, keys.stat()
            assert re.fullmatch(rf"\[default\]\naws_access_key_id = \S+\naws_secret_access_key = {secret}\n",
                                keys.read_text(encoding="ascii")), keys.read_text(encoding="ascii")
            assert read(folder / "config.toml")["schedule"]["incremental_every_days"] == 1
            assert sorted(path.name for path in folder.iterdir()) == ["aws_credentials", "config.toml"]
            shown.type("btrfs_to_s3 plan")
            text = shown.wait_for_prompt()
            assert text.rstrip().endswith("[0] #"), text

            # The keys of this shell's environment, for the units; once with options, once asked.
            keys.unlink()
            variables = f"AWS_ACCESS_KEY_ID={w.tool.environment['AWS_ACCESS_KEY_ID']} AWS_SECRET_ACCESS_KEY={secret}"
            words = (f"{variables} btrfs_to_s3 init --force --subvolume /srv/data --bucket {w.bucket.name} "
                     f"--endpoint-url {w.bucket.endpoint} --region us-east-1 --storage-class STANDARD")
            shown.type(words + " --yes --write-credentials")
            assert shown.wait_for_prompt().rstrip().endswith("[0] #"), shown.text()
            assert f"aws_secret_access_key = {secret}\n" in keys.read_text(encoding="ascii")
            shown.type(words + " --yes --write-credentials")
            assert "aws_credentials exists already" in shown.wait_for_prompt(), shown.text()
            keys.unlink()
            shown.type(words + " --prefix hosts/beta")
            answer("Directory", "")
            answer("Days from", "")
            answer("Days to", "")
            answer("Write them there", "")
            answer("Write /etc", "")
            assert shown.wait_for_prompt().rstrip().endswith("[0] #"), shown.text()
            assert stat.S_IMODE(keys.stat().st_mode) == 0o600, keys.stat()
            assert read(folder / "config.toml")["s3"]["prefix"] == "hosts/beta"


@case
def shells_complete_dates_and_keys_of_the_bucket(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    w.backup()
    keys = sorted((key for key in w.bucket.list() if "/manifest-" in key), key=lambda key: key[-21:], reverse=True)
    times = [key[-21:-5] for key in keys]
    assert len(times) == 2, keys
    folder = w.directory / "shell"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "btrfs_to_s3").symlink_to(pathlib.Path(w.tool.binary).resolve())
    root = pathlib.Path(__file__).resolve().parents[2]
    place = f"--from s3://{w.bucket.name}/hosts/test --region us-east-1 --endpoint-url {w.bucket.endpoint}"
    seen = []
    for name in ("bash", "zsh", "fish"):
        if not shutil.which(name):
            print(f"{name} is not installed")
            continue
        environment = {key: value for key, value in w.tool.environment.items() if key.startswith("AWS_")}
        shell = shells.Shell(name, root, folder, environment)
        found = shell.offered(f"restore --config {w.tool.config} --subvolume data --at ")
        assert found == times, (name, found, times)
        found = shell.offered(f"restore --config {w.tool.config} --subvolume data --at {times[1]}")
        assert found == times[1:], (name, found)
        found = shell.offered(f"restore {place} --subvolume data --manifest-key ")
        assert found == keys, (name, found, keys)
        assert shell.offered(f"list {place} --subvolume ") == ["data"], name
        # Nobody answers there.
        began = time.monotonic()
        assert shell.offered("restore --from s3://b/p --endpoint-url http://127.0.0.1:9 --subvolume x --at ") == [], name
        assert time.monotonic() - began < 5, name
        shutil.rmtree(folder / ".cache")
        seen.append(name)
    assert "bash" in seen
