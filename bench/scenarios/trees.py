"""Directory trees to back up. Random content, the same at each call."""
import os
import random


def fill_tree(directory, size):
    """About `size` bytes: one file of 40 %, files of 1 MiB, and a tenth in files of 16 KiB."""
    source = random.Random(7)
    block = source.randbytes(1 << 20)

    def write(path, length):
        with open(path, "wb") as file:
            while length > 0:
                # A different beginning keeps blocks apart; the rest may repeat, nothing here deduplicates.
                piece = (source.randbytes(64) + block[64:])[:length]
                file.write(piece)
                length -= len(piece)
    write(directory / "large", size * 4 // 10)
    for name, length, share in (("medium", 1 << 20, 5), ("small", 1 << 14, 1)):
        for number in range(max(1, size * share // 10 // length)):
            folder = directory / name / str(number // 500)
            if number % 500 == 0:
                folder.mkdir(parents=True)
            write(folder / str(number), length)
    os.sync()


def fill_with_small_files(directory, count):
    """Files of 0 to 8 KiB, 1,000 a directory."""
    source = random.Random(8)
    block = source.randbytes(16384)
    for number in range(count):
        folder = directory / str(number // 1000)
        if number % 1000 == 0:
            folder.mkdir()
        start = source.randrange(8192)
        (folder / f"file{number}").write_bytes(block[start:start + source.randrange(8192)])
    os.sync()
