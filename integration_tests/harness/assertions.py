"""What the scripts demand. A demand that is not met ends a script with a message that names the culprit."""


class HarnessError(Exception):
    """A check failed, or the harness cannot go on; the text says what and, where there is one, the remedy."""


def require(condition, message):
    if not condition:
        raise HarnessError(message)


def equal(what, found, expected):
    require(found == expected, f"{what} is {found!r}, expected {expected!r}")


def contains(what, text, *words):
    """Upper and lower case are the same here."""
    for word in words:
        require(word.lower() in text.lower(), f"{what} does not say {word!r}:\n{text}")


def nothing_of(what, found):
    """`found` is a collection that must be empty."""
    require(not found, f"{what}: {len(found)}, among them {sorted(found)[:3]}")
