"""The fields of the JSON that the program prints, by the table "Names in JSON" of docs/reference.md."""
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
OF_A_FILE = re.compile(r"-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")  # which may be any
TYPES = {
    "text": lambda value: isinstance(value, str),
    "time": lambda value: isinstance(value, str) and TIME.fullmatch(value) is not None,
    "time of a file": lambda value: isinstance(value, str) and OF_A_FILE.fullmatch(value) is not None,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "yes or no": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "map": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
}


def table(root=ROOT):
    """{name: type}"""
    text = (pathlib.Path(root) / "docs" / "reference.md").read_text(encoding="utf-8")
    part = re.search(r"^## Names in JSON\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert part, "docs/reference.md has no section \"Names in JSON\""
    names = {}
    for row in re.finditer(r"^\| (`.*?`) \| (.*?) \| ", part[1], re.MULTILINE):
        for name in re.findall(r"`([a-z0-9_]+)`", row[1]):
            assert name not in names, f"{name} is in two rows of the table"
            assert row[2] in TYPES, f"{name} is of no type: {row[2]}; there are {', '.join(TYPES)}"
            names[name] = row[2]
    return names


def documents(text):
    """One document, or one a line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def problems(document, names):
    """What is otherwise than the table says, as sentences."""
    if not isinstance(document, dict) or document.get("version") != 1:
        return ["the document has no \"version\": 1"]
    return list(_problems(document, names, ""))


def _problems(value, names, where):
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _problems(one, names, f"{where}[{index}]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            at = f"{where}.{name}".lstrip(".")
            if name not in names:
                yield f"{at} is not in the table"
                continue
            # Null says that there is none.
            if inner is not None and not TYPES[names[name]](inner):
                yield f"{at} is {json.dumps(inner)[:60]}, and the table says {names[name]}"
            elif names[name] == "map":
                for key, one in inner.items():
                    yield from _problems(one, names, f"{at}[{key}]")
            else:
                yield from _problems(inner, names, at)


def names_in(value):
    """Every name of a field in it, but for keys of maps."""
    found = set()
    for one in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        found |= names_in(one)
    return found | (set(value) if isinstance(value, dict) else set())
