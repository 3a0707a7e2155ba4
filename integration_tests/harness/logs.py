"""Messages on standard output and, with the time of day before each line, in a file; figures read out of such files."""
import datetime
import json
import math
import pathlib
import re

STAMP = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*"
# As write() puts it before a line.
WRITTEN = r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 )?"
# The tool's time, which may be missing, level, component, event, fields.
LINE = re.compile(rf"{WRITTEN}(?:(?P<time>{STAMP}) )?(?P<level>DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL) "
                  r"(?:(?P<component>\S+) )?event=(?P<event>[A-Za-z_]+)(?P<fields> .*)?")
FIELD = re.compile(r' ([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^ "]*))(?= |$)')
COUNTS = ("backups", "restored", "links", "bytes", "resumed_bytes", "kept_bytes", "parts", "damaged_parts", "retries",
          "bytes_per_second", "peak_rss_bytes")
SECONDS = ("seconds", "thaw_wait_seconds", "transfer_seconds", "cpu_seconds")
# The earlier tool's event at the end of each run, and what it calls what.
EARLIER = {"backup_metrics": "backup", "restore_metrics": "restore"}
EARLIER_NAMES = {"total_bytes": "bytes", "elapsed_seconds": "seconds"}


def stamp():
    """UTC, sortable, fit for a file name."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")


class Log:
    """Writes `directory`/NAME-TIME.log. The file is made with the first message."""

    def __init__(self, directory, name):
        self.directory = pathlib.Path(directory)
        self.path = self.directory / f"{name}-{stamp()}.log"

    def write(self, text):
        """To the file alone."""
        self.directory.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        with open(self.path, "a", encoding="utf-8", errors="backslashreplace") as file:
            for line in text.splitlines() or [""]:
                file.write(f"{now} {line}\n")

    def say(self, text):
        print(text, flush=True)
        self.write(text)


def events(lines):
    """Each event that the tool logged, as text or as JSON, as {"time", "level", "component", "event", its fields}; all
    strings. Lines that are none are passed over; of a line that was cut off what is whole is there."""
    for line in lines:
        line = line.rstrip("\n")
        match = LINE.fullmatch(line)
        if match:
            found = {name: match[name] for name in ("time", "level", "component", "event") if match[name]}
            for name, quoted, plain in FIELD.findall(match["fields"] or ""):
                found.setdefault(name, re.sub(r"\\(.)", r"\1", quoted) if quoted else plain)
            yield found
            continue
        try:
            found = json.loads(re.sub(f"^{WRITTEN}", "", line))
        except ValueError:
            continue
        if isinstance(found, dict) and found and all(isinstance(one, str) for one in found.values()) and "event" in found:
            yield found


def number(text, kind):
    """A count or seconds, None for what is neither."""
    try:
        value = kind(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def figures(event):
    """What the last event of a run of the tool says of it in numbers, None for any other event."""
    if event["event"] == "run_finished":
        verb, named = event.get("component", ""), event
    elif event["event"] in EARLIER:
        verb = EARLIER[event["event"]]
        named = {EARLIER_NAMES.get(name, name): text for name, text in event.items()}
    else:
        return None
    found = {"verb": verb}
    for names, kind in ((COUNTS, int), (SECONDS, float)):
        for name in names:
            value = number(named[name], kind) if name in named else None
            if value is not None:
                found[name] = value
    if "bytes" in found and "seconds" in found and "bytes_per_second" not in found:
        found["bytes_per_second"] = rate(found["bytes"], found["seconds"])
    return found


def rate(size, seconds):
    return size / seconds if seconds > 0 else 0.0


def runs_of(text):
    """The figures of each run of the tool that ended within this text."""
    return [found for found in map(figures, events(text.splitlines())) if found]


def totals(runs):
    """Of all runs together; parts and retries are None where no run told them."""
    def total(name, nothing):
        told = [run[name] for run in runs if name in run]
        return sum(told) if told else nothing
    size, seconds = total("bytes", 0), total("seconds", 0.0)
    return {"bytes": size, "seconds": seconds, "bytes_per_second": rate(size, seconds), "parts": total("parts", None),
            "retries": total("retries", None)}


def parse_stats(path):
    """A log in figures: lines, errors, warnings, the times of the first and the last line, the runs of the tool and
    what they come to (totals()). A log that is not there is an empty one."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""
    lines, levels = text.splitlines(), [event.get("level") for event in events(text.splitlines())]
    failed = sum(1 for line in lines if re.match(rf"{WRITTEN}FAILED ", line))
    times = sorted(time for time in map(time_of, lines) if time)
    runs = runs_of(text)
    return {"lines": len(lines), "errors": levels.count("ERROR") + levels.count("CRITICAL") + failed,
            "warnings": levels.count("WARN") + levels.count("WARNING"),
            "first_ts": shown(times[0]) if times else None, "last_ts": shown(times[-1]) if times else None,
            "duration_seconds": (times[-1] - times[0]).total_seconds() if times else None,
            **totals(runs), "runs": runs}


def time_of(line):
    """The time at the beginning of a line, None where there is none."""
    try:
        time = datetime.datetime.fromisoformat(line.partition(" ")[0])
    except ValueError:
        return None
    return time if time.tzinfo else None


def shown(time):
    return time.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def summary(directory):
    """All logs of a directory by their names, and what they come to."""
    found = {path.name: parse_stats(path) for path in sorted(pathlib.Path(directory).glob("*.log"))}
    return {"generated_at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "logs_dir": str(directory), "log_stats": found,
            "total_errors": sum(one["errors"] for one in found.values()),
            "total_warnings": sum(one["warnings"] for one in found.values()),
            **totals([run for one in found.values() for run in one["runs"]])}
