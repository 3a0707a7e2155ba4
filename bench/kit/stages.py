"""Where the CPU time of a run goes: perf's samples, sorted into the stages of the cost model (DESIGN.md section 12).

A sample belongs to the first rule that knows one of its frames, from the innermost outwards. OpenSSL comes without
symbols, so what it does is told by the thread: one hashes, the others speak TLS."""
import collections
import pathlib
import re
import shutil
import subprocess
import tempfile

from . import measure

FREQUENCY = 997  # a prime: not in step with timers

# (stage, pattern over "symbol dso" of a frame)
RULES = (
    ("fresh memory", re.compile(r"^(clear_page|clear_huge_page|folio_zero|vma_alloc|do_anonymous_page|do_huge_pmd|"
                                r"handle_mm_fault|__get_user_pages|pin_user_pages|io_sqe_buffer|unmap_vmas|exit_mmap|"
                                r"zap_p|free_pages_and_swap)")),
    ("pipe to user", re.compile(r"^(anon_)?pipe_read")),
    ("user to pipe", re.compile(r"^(anon_)?pipe_write")),
    ("socket send", re.compile(r"^(tcp|inet|inet6|sock)_(sendmsg|write)")),
    ("socket receive", re.compile(r"^(tcp|inet|inet6|sock)_(recvmsg|read)")),
    ("disk", re.compile(r"^(ext4|xfs|btrfs|blkdev|iomap|submit_bio|blk_)")),
    ("CRC32", re.compile(r" .*libisal")),
    ("TLS", re.compile(r" .*libssl")),
    ("libcrypto", re.compile(r" .*libcrypto")),
    ("HTTP client", re.compile(r" .*(libcurl|libnghttp)")),
    ("memory copies", re.compile(r"^__mem(move|cpy)")),
    ("start of the process", re.compile(r" .*ld-linux|^(load_elf|begin_new_exec|bprm_execve)")),
    ("kernel, other", re.compile(r" .*\[kernel")),
    ("the program's own code", re.compile(r" .*(btrfs_to_s3|bench_floor|liburing|libstdc)")),
)


def why_not():
    if not shutil.which("perf"):
        return "perf is not installed (tests/install_dependencies.sh peers)"
    with tempfile.NamedTemporaryFile(suffix=".perf") as data:
        tried = subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-g", "-o", data.name, "--", "true"],
                               capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"perf may not record here: {tried.stderr.strip().splitlines()[-1:]}"


def stage_of(frames):
    """`frames` as "symbol dso", innermost first. What the kernel does is known by its entry (a copy by the pipe or the
    socket it is for); what happens outside of it by the innermost frame."""
    kernel = [frame for frame in frames if "[kernel" in frame]
    outside = [frame for frame in frames if "[kernel" not in frame]
    if kernel:
        for stage, pattern in RULES:
            if stage != "kernel, other" and any(pattern.search(frame) for frame in kernel):
                return stage
        return "kernel, other"
    for frame in outside:
        for stage, pattern in RULES:
            if pattern.search(frame):
                return stage
    return "other"


def parse(text):
    """{(name, pid, tid): {stage: samples}} of `perf script -F comm,pid,tid,ip,sym,dso`."""
    found = collections.defaultdict(collections.Counter)
    for block in text.split("\n\n"):
        lines = block.strip("\n").splitlines()
        head = re.match(r"\s*(.*?)\s+(\d+)/(\d+)\s*$", lines[0]) if lines else None
        if not head:
            continue
        frames = []
        for line in lines[1:]:
            match = re.match(r"\s*[0-9a-f]+ (.*?)(?:\+0x[0-9a-f]+)? \((.*)\)$", line)
            if match:
                frames.append(f"{match[1]} {match[2]}")
        found[(head[1], int(head[2]), int(head[3]))][stage_of(frames)] += 1
    return found


def seconds_by_stage(samples, name, hashing_in_main_thread):
    """CPU seconds of the process called `name`, all of its threads; libcrypto is told apart by thread. Children bear the
    name too until they execute something else: the process is the one with the most samples."""
    by_process = collections.Counter()
    for (thread_name, pid, _), stages in samples.items():
        if thread_name == name:
            by_process[pid] += sum(stages.values())
    if not by_process:
        raise measure.Failed(f"perf took no samples of {name}")
    process = by_process.most_common(1)[0][0]
    seconds = collections.Counter()
    for (_, pid, tid), stages in samples.items():
        if pid != process:
            continue
        hashing = (tid == pid) == hashing_in_main_thread
        for stage, count in stages.items():
            if stage == "libcrypto":
                stage = "SHA-256" if hashing else "TLS"
            seconds[stage] += count / FREQUENCY
    return dict(seconds)


def profile(command, hashing_in_main_thread, **options):
    """Runs the command under perf: {stage: CPU seconds}. Options as for measure.run."""
    with tempfile.NamedTemporaryFile(suffix=".perf") as data:
        measure.run(["perf", "record", "-q", "-F", str(FREQUENCY), "-e", "cpu-clock", "-g", "-o", data.name, "--",
                     *map(str, command)], **options)
        script = subprocess.run(["perf", "script", "--no-inline", "-i", data.name, "-F", "comm,pid,tid,ip,sym,dso"], check=True,
                                capture_output=True, text=True, errors="replace")
    name = pathlib.PurePath(command[0]).name[:15]  # as the kernel cuts it
    return seconds_by_stage(parse(script.stdout), name, hashing_in_main_thread)
