"""What a host has of its sealed backups while one is made: in its files, and in the memory of the run, nothing opens what was
written before."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from harness import age_keys  # world knows where that is
from recovery import behind_proxy, random_file
from sealing import make_identity
from world import MIB, case


def forms_of_backup(w, manifest, name, identity, with_parts=True):
    """What opens a backup, in every form: its own identity, and for each part the file's key and the payload's."""
    opened = subprocess.run(["age", "-d", "-i", identity], input=w.bucket.get(manifest["encryption"]["keys_key"]), check=True,
                            capture_output=True).stdout.decode("ascii")
    text = age_keys.identity_in(opened)
    secret = age_keys.secret_of(text)
    found = age_keys.forms(f"identity of {name}", secret, text)
    for index, chunk in enumerate(manifest["chunks"] if with_parts else []):
        body = w.bucket.get(chunk["key"])
        for number, at in enumerate(range(0, len(body), chunk["part_size"]), 1):
            key, payload, plain = age_keys.file_key(body[at:at + chunk["part_size"]], secret)
            assert index or number > 1 or plain.startswith(b"btrfs-stream"), plain[:32]  # these are the keys
            found |= age_keys.forms(f"key of chunk {index}, part {number} of {name}", key)
            found |= age_keys.forms(f"payload key of chunk {index}, part {number} of {name}", payload)
    return found


def files_of(w):
    """All that this host has: configuration, state, journals, lock, what it printed."""
    return {str(path): path.read_bytes() for path in w.directory.rglob("*")
            if path.is_file() and not path.is_relative_to(w.mount) and path.suffix != ".img"}


def memory_of(pid):
    """Every mapping that can be written to."""
    found = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            extent, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            begin, end = (int(text, 16) for text in extent.split("-"))
            memory.seek(begin)
            body = bytearray()
            while len(body) < end - begin:
                try:
                    piece = memory.read(end - begin - len(body))
                except OSError:
                    break  # pages of a device
                if not piece:
                    break
                body += piece
            found[f"memory {line}"] = bytes(body)
    return found


def is_stopped(pid):
    return re.search(r"\) ([A-Za-z]) ", pathlib.Path(f"/proc/{pid}/stat").read_text())[1] == "T"


def captured(w, environment=None):
    """A backup that is stopped while its second part is on its way: this host's files, its memory, and what the kernel says of
    that. The run goes on afterwards, and succeeds."""
    with behind_proxy(w) as between:
        held = between.hold(method="PUT", query="partNumber=2&")
        running = w.tool.start("backup", "--once", environment=environment)
        pid = running[0].pid
        deadline = time.monotonic() + 60
        while not held.reached.wait(0.02):
            assert running[0].poll() is None and time.monotonic() < deadline, w.tool.finish(running)
        os.kill(pid, signal.SIGSTOP)
        while not is_stopped(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        found = files_of(w) | memory_of(pid)
        smaps = pathlib.Path(f"/proc/{pid}/smaps").read_text()
        locked = int(re.search(r"VmLck:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1])
        os.kill(pid, signal.SIGCONT)
        between.release()
        w.expect(0, w.tool.finish(running))
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    return found, smaps, locked


def sightings(found, forms):
    return sorted({(form, place) for form, secret in forms.items() for place, body in found.items() if secret in body})


@case
def a_host_alone_cannot_open_what_it_wrote_before(w):
    with tempfile.TemporaryDirectory(prefix="drawer-") as drawer:
        path, recipient = make_identity(w, "identity.txt")
        identity = pathlib.Path(drawer) / "identity.txt"
        path.rename(identity)
        w.tool.tables["encryption"] = {"recipients": [recipient]}
        random_file(w.data / "first", 11 * MIB)
        w.backup()
        before = w.manifest()
        text = age_keys.identity_in(identity.read_text())
        forms = age_keys.forms("identity of the user", age_keys.secret_of(text), text)
        forms |= forms_of_backup(w, before, "the backup before", identity)
        assert len(forms) == 2 * 6 + 3 * 2 * 4, sorted(forms)  # two identities, three parts

        random_file(w.data / "second", 22 * MIB)
        found, smaps, locked = captured(w)
        # It was in the middle of an upload: there is a journal, and memory of some parts.
        assert any(".journal" in place and body for place, body in found.items()), list(found)
        assert sum(len(body) for place, body in found.items() if place.startswith("memory")) > 8 * MIB
        # Nor can it open what it is just writing: that backup's own identity was wiped when it was sealed.
        assert w.manifest()["chunks"] != before["chunks"]
        forms |= forms_of_backup(w, w.manifest(), "the backup under way", identity, with_parts=False)
        assert sightings(found, forms) == [], sightings(found, forms)
        # What is secret in a run lies on pages that are locked and that no dump has.
        apart = [flags.split() for flags in re.findall(r"^VmFlags: (.*)$", smaps, re.MULTILINE)]
        assert locked > 0, locked
        assert any({"lo", "dd"} <= set(flags) for flags in apart), apart

        # And keys that were there would be found, in each form, in memory and in a file.
        forms = {form: secret for form, secret in forms.items() if "under way" not in form}
        planted = {form: secret for form, secret in forms.items() if b"\0" not in secret}
        raw = next(form for form in planted if form.endswith("raw"))
        in_memory = {form for form in planted if not form.endswith("raw")} | {raw}
        environment = {f"PLANTED_{at}": os.fsdecode(planted[form]) for at, form in enumerate(sorted(in_memory))}
        (w.directory / "state" / "planted").write_bytes(b"before" + b"".join(forms.values()) + b"behind")
        random_file(w.data / "third", 22 * MIB)
        found, _, _ = captured(w, environment)
        seen = sightings(found, forms)
        assert {form for form, place in seen if place.startswith("memory")} >= in_memory, seen
        assert {form for form, place in seen if place.endswith("planted")} == set(forms), seen
