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


TINY_BYTES = 64
TINY_A_DIRECTORY = 1000


def tiny_directory(number):
    return f"directory-{number}"


def tiny_file(number):
    return f"{tiny_directory(number // TINY_A_DIRECTORY)}/file-{number}.dat"


def fill_with_tiny_files(directory, count):
    """Files of TINY_BYTES, 1,000 a directory."""
    for number in range(count):
        if number % TINY_A_DIRECTORY == 0:
            (directory / tiny_directory(number // TINY_A_DIRECTORY)).mkdir()
        with open(f"{directory}/{tiny_file(number)}", "wb", buffering=0) as file:
            file.write(b"%064d" % number)


def change_tiny_files(directory, count, link):
    """The files of one in a hundred numbers, another one for each link, and a hundred new ones."""
    for number in range(link, count, 100):
        with open(f"{directory}/{tiny_file(number)}", "wb", buffering=0) as file:
            file.write(b"%d-%061d" % (link % 10, number))
    (directory / f"made-{link}").mkdir()
    for number in range(100):
        (directory / f"made-{link}" / f"file-{number}").write_bytes(b"new")
