"""Messages on standard output and, with the time of day before each line, in a file."""
import datetime
import pathlib


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
