"""Self-tests of the verify scripts: break one thing, expect a non-zero exit that names it, undo it."""
import contextlib
import io

from . import aws
from .assertions import HarnessError, require


@contextlib.contextmanager
def object_replaced(store, key, body=None, storage_class=None):
    """Another content (None: the same) or class; afterwards it is as before."""
    head, old = store.head(key), store.get(key)
    was = (aws.storage_class(head), aws.sse(head))
    try:
        store.put(key, old if body is None else body, storage_class or was[0], was[1])
        yield
    finally:
        store.put(key, old, *was)


@contextlib.contextmanager
def object_missing(store, key):
    with object_replaced(store, key):
        store.delete(key)
        yield


@contextlib.contextmanager
def object_added(store, key, body):
    try:
        store.put(key, body)
        yield
    finally:
        store.delete(key)


@contextlib.contextmanager
def file_replaced(path, body):
    """None removes it for the time being."""
    old = path.read_bytes()
    try:
        if body is None:
            path.unlink()
        else:
            path.write_bytes(body)
        yield
    finally:
        path.write_bytes(old)


def status_of(check):
    """What check() returns (or 1 when it raises a failed demand), and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            status = check()
        except HarnessError as problem:
            print(problem)
            status = 1
    return status, said.getvalue()


def self_test(log, check, faults):
    """`faults` is [(name, context manager, words that the complaint must have)]. Returns an exit status."""
    status, said = status_of(check)
    require(status == 0, f"the self-test needs a sound state to begin with:\n{said}")
    failed = 0
    for name, fault, *words in faults:
        with fault as replaced:
            # A fault may bring a check of its own, with other settings.
            status, said = status_of(replaced if callable(replaced) else check)
        missing = [word for word in words if word not in said]
        if status == 0 or missing:
            failed += 1
            log.say(f"  not found: {name}" + (f" (no {missing[0]!r} in: {said.strip()})" if status else ""))
        else:
            log.say(f"  found: {name}: {said.strip().splitlines()[0][:150]}")
    status, said = status_of(check)
    require(status == 0, f"the self-test did not undo what it broke:\n{said}")
    log.say(f"  {len(faults) - failed} of {len(faults)} planted faults were found")
    return 1 if failed else 0


def verdict(log, problems, checked):
    """Prints what is wrong, or what was checked; the exit status."""
    for line in problems[:20]:
        log.say(line)
    if len(problems) > 20:
        log.say(f"... {len(problems)} in all")
    if not problems:
        log.say(f"  sound: {checked}")
    return 1 if problems else 0
