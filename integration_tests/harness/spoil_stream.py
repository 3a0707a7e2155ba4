"""A filter for send streams: changes the last byte of the first file content of at least 1,000 bytes, and mends the
command's checksum, so that `btrfs receive` takes it.

  spoil_stream.py [OFFSET]   of the first that ends behind so many bytes of the stream
"""
import struct
import sys

WRITE, DATA = 15, 19  # BTRFS_SEND_C_WRITE, BTRFS_SEND_A_DATA (fs/btrfs/send.h)


def crc32c(data):
    """As Btrfs uses it here: Castagnoli's polynomial, from 0, not inverted."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def main():
    source, out = sys.stdin.buffer, sys.stdout.buffer
    begin = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    at = out.write(source.read(17))
    spoiled = False
    while header := source.read(10):
        length, command, _ = struct.unpack("<IHI", header)
        body = bytearray(source.read(length))
        at += 10 + length
        if command == WRITE and length > 1000 and at > begin and not spoiled:
            spoiled = True
            body[-1] ^= 1
            header = struct.pack("<IHI", length, command, 0)
            header = struct.pack("<IHI", length, command, crc32c(header + body))
        out.write(header + body)


if __name__ == "__main__":
    main()
