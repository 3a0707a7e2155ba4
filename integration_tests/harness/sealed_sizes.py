"""What sealing makes of sizes: docs/design.md, "Sealed parts"."""
HEADER, SEGMENT, TAG = 512 + 16, 65536, 16


def sealed_bytes(plain, part_size):
    """What a stream of so many bytes has as one object of sealed parts."""
    full = part_size - HEADER
    in_full = full // (SEGMENT + TAG) * SEGMENT + max(0, full % (SEGMENT + TAG) - TAG)
    parts, rest = divmod(plain, in_full)
    return parts * part_size + (rest + HEADER + -(-rest // SEGMENT) * TAG if rest else 0)
