"""A filter for send streams: inserts commands before END, given as "mkfile:PATH", "symlink:PATH:TARGET", "write:PATH:TEXT",
"unlink:PATH", "mkdir:PATH" or "rename:PATH:TO"."""
import struct
import sys

from spoil_stream import crc32c

PATH, PATH_TO, PATH_LINK, OFFSET, DATA, INO = 15, 16, 17, 18, 19, 3
END = 21
KINDS = {"mkfile": (3, None), "mkdir": (4, None), "symlink": (8, PATH_LINK), "rename": (9, PATH_TO), "unlink": (11, None),
         "write": (15, DATA)}


def attribute(kind, value):
    return struct.pack("<HH", kind, len(value)) + value


def command(words, version):
    name, path, *rest = words.split(":")
    number, extra = KINDS[name]
    body = attribute(PATH, path.encode())
    if name in ("mkfile", "mkdir", "symlink"):
        body += attribute(INO, struct.pack("<Q", 100_000))
    if extra == DATA:
        body += attribute(OFFSET, bytes(8))
        # From version 2 on the data has no length: it goes to the end of the command.
        body += attribute(DATA, rest[0].encode()) if version == 1 else struct.pack("<H", DATA) + rest[0].encode()
    elif extra:
        body += attribute(extra, rest[0].encode())
    header = struct.pack("<IHI", len(body), number, 0)
    return struct.pack("<IHI", len(body), number, crc32c(header + body)) + body


def main():
    source, out = sys.stdin.buffer, sys.stdout.buffer
    beginning = source.read(17)
    out.write(beginning)
    version, = struct.unpack("<I", beginning[13:])
    while header := source.read(10):
        length, number, _ = struct.unpack("<IHI", header)
        if number == END:
            for words in sys.argv[1:]:
                out.write(command(words, version))
        out.write(header + source.read(length))


main()
