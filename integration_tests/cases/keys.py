"""Cases of keys: made and told apart, with age and age-keygen as the others who make and take them."""
import json
import os
import re
import signal
import stat
import subprocess

from world import case, terminal
from harness import json_names  # world knows where that is

RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")


def keys(w, *arguments, expect=0, environment=None, directory=None):
    done = subprocess.run([w.tool.binary, "keys", *arguments], env=environment or w.tool.environment, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, cwd=directory or w.directory,
                          start_new_session=True)
    assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
    if "--json" in arguments:
        (document,) = json_names.documents(done.stdout)
        assert not json_names.problems(document, json_names.table()), done.stdout
    return done


def told(done):
    """What it printed, by its names."""
    return dict(line.split(None, 1) for line in done.stdout.split("\n\n")[0].splitlines())


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, timeout=60, **options).stdout


def fingerprint(recipient):
    digest = run("openssl", "dgst", "-sha256", "-binary", input=recipient.encode())
    return "SHA256:" + run("base64", input=digest).decode().strip().rstrip("=")


@case
def an_identity_is_made_that_age_takes_and_told_again(w):
    """Without a configuration, in a directory of its own."""
    path = w.directory / "btrfs_to_s3-identity.txt"
    done = keys(w, "generate")
    said = told(done)
    assert RECIPIENT.fullmatch(said["recipient"]) and said["identity"] == str(path), said
    assert said["fingerprint"] == fingerprint(said["recipient"]), said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = next(line for line in path.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-1"))
    assert secret not in done.stdout + done.stderr
    assert run("age-keygen", "-y", path).decode().strip() == said["recipient"]
    sealed = run("age", "-r", said["recipient"], input=b"a text")
    assert run("age", "-d", "-i", path, input=sealed) == b"a text"
    # What is there is never replaced.
    before = path.read_bytes()
    refused = keys(w, "generate", expect=2)
    assert "exists already" in refused.stderr and path.read_bytes() == before, refused.stderr
    document = json.loads(keys(w, "show", "--json", str(path), said["recipient"]).stdout)
    assert [one["recipient"] for one in document["keys"]] == [said["recipient"]] * 2, document
    assert document["keys"][0]["source"] == str(path) and document["keys"][0]["fingerprint"] == said["fingerprint"], document
    # Ones of age-keygen, and a list of recipients.
    other = w.directory / "other.txt"
    run("age-keygen", "-o", other)
    theirs = run("age-keygen", "-y", other).decode().strip()
    listed = w.directory / "recipients"
    listed.write_text(f"# both\n{said['recipient']}\n{theirs}\n")
    shown = keys(w, "show", str(other), str(listed)).stdout
    assert RECIPIENT.findall(shown) == [theirs, said["recipient"], theirs], shown
    listed.chmod(0o666)
    assert "others can write to" in keys(w, "show", str(listed), expect=2).stderr
    made = json.loads(keys(w, "generate", "--json", "third.txt").stdout)
    assert made["path"] == str(w.directory / "third.txt") and made["passphrase"] is False, made


@case
def a_sealed_identity_goes_both_ways_and_its_passphrase_is_never_seen(w):
    environment = {**w.tool.environment, "TERM": "xterm"}
    path, words = w.directory / "sealed.txt", "correct horse"
    with terminal.person([w.tool.binary, "keys", "generate", "--passphrase", str(path)], environment, secrets=(words,),
                         directory=w.directory) as person:
        for question in ("Passphrase: ", "The same again: "):
            person.see(question)
            assert not person.echoes()
            person.answer(words)
        person.see("recipient    ")
        recipient = RECIPIENT.search(person.see("fingerprint"))[0]
        assert person.end() == 0, person.shown
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "BEGIN AGE ENCRYPTED FILE" in path.read_text()
    # age asks and opens.
    with terminal.person(["age", "-d", "-o", str(w.directory / "opened"), str(path)], environment, secrets=(words,)) as person:
        person.see(": ")
        person.answer_unseen(words)
        assert person.end() == 0, person.shown
    assert run("age-keygen", "-y", w.directory / "opened").decode().strip() == recipient
    # One that age sealed; a passphrase from a file, and from the service manager.
    with terminal.person(["age", "-p", "-o", str(w.directory / "theirs"), str(w.directory / "opened")], environment) as person:
        for _ in range(2):
            person.see(": ")
            person.answer_unseen(words)
        assert person.end() == 0, person.shown
    file = w.directory / "identity_passphrase"
    file.write_text(words + "\n")
    file.chmod(0o600)
    for variable, value in (("BTRFS_TO_S3_IDENTITY_PASSPHRASE_FILE", file), ("CREDENTIALS_DIRECTORY", w.directory)):
        done = keys(w, "show", str(w.directory / "theirs"), environment={**environment, variable: str(value)})
        assert recipient in done.stdout and "unknown_variable" not in done.stderr, done
    file.chmod(0o644)
    done = keys(w, "show", str(path), expect=2, environment={**environment, "BTRFS_TO_S3_IDENTITY_PASSPHRASE_FILE": str(file)})
    assert "others can read" in done.stderr, done.stderr
    # Nobody to ask.
    done = keys(w, "show", str(path), expect=2)
    assert "there is no terminal to ask at" in done.stderr and "BTRFS_TO_S3_IDENTITY_PASSPHRASE_FILE" in done.stderr, done.stderr


@case
def a_question_for_a_secret_that_is_stopped_leaves_the_terminal_and_no_file(w):
    path = w.directory / "never.txt"
    for end in (lambda person: person.press("\x03"), lambda person: person.process.send_signal(signal.SIGTERM),
                lambda person: person.press("\x04")):
        with terminal.person([w.tool.binary, "keys", "generate", "--passphrase", str(path)], w.tool.environment,
                             directory=w.directory) as person:
            person.see("Passphrase: ")
            assert not person.echoes()
            end(person)
            assert person.end() in (130, 143, 1), person.shown  # end() has looked at the terminal's modes
        assert not path.exists()
    with terminal.person([w.tool.binary, "keys", "generate", "--passphrase", str(path)], w.tool.environment,
                         directory=w.directory) as person:
        for words in ("one", "another"):
            person.see(": ")
            person.answer(words)
        person.see("the two passphrases differ")
        assert person.end() == 2, person.shown
    assert not path.exists()


@case
def an_identity_is_typed_at_the_terminal_wherever_standard_input_is(w):
    path = w.directory / "typed.txt"
    recipient = told(keys(w, "generate", str(path)))["recipient"]
    secret = next(line for line in path.read_text().splitlines() if line.startswith("AGE-"))
    script = f"exec {w.tool.binary} keys show - </dev/null"
    with terminal.person(["/bin/sh", "-c", script], w.tool.environment, secrets=(secret,)) as person:
        person.see("Identity (AGE-SECRET-KEY-1...): ")
        assert not person.echoes()
        person.answer(secret)
        person.see(recipient)
        assert person.end() == 0, person.shown
    path.chmod(0o640)
    refused = keys(w, "show", str(path), expect=2)
    assert "others can read" in refused.stderr and "chmod 600" in refused.stderr, refused.stderr
    os.mkfifo(w.directory / "pipe", 0o600)
    refused = keys(w, "show", str(w.directory / "pipe"), expect=2)
    assert "is a pipe" in refused.stderr, refused.stderr
    for word, said in (("age1pq1" + "q" * 1900, "OpenSSL 3.5"), ("age1yubikey1qqqq", "plugin")):
        refused = keys(w, "show", word, expect=2)
        assert said in refused.stderr, refused.stderr
