"""A `btrfs` for the tool that behaves, except at one verb; everything else is handed to the real one.

  fake_btrfs.py REAL hold BYTES DIR ...   `send` stops after so many bytes, makes DIR/reached, and goes on when DIR/go
                                          is there; it ends when nobody reads from it any more
  fake_btrfs.py REAL spoil - - ...        `receive` gets a stream with one byte of one file changed
"""
import os
import pathlib
import select
import subprocess
import sys
import time

BLOCK = 1 << 16


def main():
    real, mode, count, directory, *arguments = sys.argv[1:]
    verb = arguments[0] if arguments else ""
    if mode == "hold" and verb == "send" and "--no-data" not in arguments:
        return send([real, *arguments], int(count), pathlib.Path(directory))
    if mode == "spoil" and verb == "receive":
        spoil = pathlib.Path(__file__).resolve().parent / "spoil_stream.py"
        with subprocess.Popen([sys.executable, "-B", str(spoil)], stdout=subprocess.PIPE) as filtered:
            return subprocess.run([real, *arguments], stdin=filtered.stdout, check=False).returncode
    os.execv(real, [real, *arguments])


def abandoned():
    """Whether the reading end of standard output is closed."""
    poll = select.poll()
    poll.register(1, 0)
    return bool(poll.poll(0))


def send(command, left, directory):
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        while left and (block := process.stdout.read(min(left, BLOCK))):
            left -= len(block)
            pass_on(block)
        (directory / "reached").touch()
        while not (directory / "go").exists():
            if abandoned():
                process.kill()
                return 1
            time.sleep(0.05)
        while block := process.stdout.read(BLOCK):
            pass_on(block)
    return process.returncode


def pass_on(block):
    while block:
        block = block[os.write(1, block):]


if __name__ == "__main__":
    sys.exit(main())
