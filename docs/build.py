"""Writes the generated page, docs/manifest.md, and checks the relative links of all documents.

python docs/build.py            write
python docs/build.py --check    compare only; exit code 1 if something is stale or a link is broken
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from restore_manifests.schema import json_schema

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGE = DOCS / "manifest.md"

HEAD = """\
<!-- Written by docs/build.py from the schema and manifest-members.toml: make docs -->
# The manifest, member by member

`<stem>.manifest.json` is one readable JSON document. All members are required, none may be added. `body`
says what was done. The signature of scope `body` is over the body's RFC 8785 bytes, so that white space and
the order of members do not matter and everything else does; the same bytes are embedded in the C2PA claim
and entered in the log. The claim also holds the map files, or, where they are more than 4 MiB together,
their hashes in the metadata of their ingredients. The signature of scope `files` is over the RFC 8785 bytes
of `files`, because the finished result file contains the body and so cannot be named in it. The JSON Schema
for other languages is [manifest.schema.json](../manifests/restore_manifests/manifest.schema.json); how to
check a manifest by hand is in [verifying.md](verifying.md).

Hashes are SHA-256 in lower-case hexadecimal. `pixels_sha256` is defined in
[program.md](program.md#8-digests); `file_sha256` is over the bytes of the file.
"""


def manifest_page() -> str:
    """One table for each object of the schema, in the order in which a reader meets them."""
    schema = json_schema()
    meanings = tomllib.loads((DOCS / "manifest-members.toml").read_text(encoding="utf-8"))
    parts, waiting, done = [HEAD], ["Manifest"], set()
    objects = {"Manifest": schema, **schema["$defs"]}
    while waiting:
        name = waiting.pop(0)
        if name in done:
            continue
        done.add(name)
        described = objects[name]
        about = " ".join(described.get("description", "").split())
        said = meanings.pop(name)
        rows = [f"| `{m}` | {_kind(v)} | {said.pop(m)} |" for m, v in described["properties"].items()]
        if said:
            raise KeyError(f"manifest-members.toml explains what {name} does not have: {sorted(said)}")
        table = ["| member | type | meaning |", "|---|---|---|", *rows]
        parts.append("\n".join([f"## {name}", "", about, "", *table, ""]))
        waiting += re.findall(r'"#/\$defs/(\w+)"', str(described["properties"]).replace("'", '"'))
    if meanings:
        raise KeyError(f"manifest-members.toml explains what the schema does not have: {sorted(meanings)}")
    return "\n".join(parts)


def _kind(values: dict[str, Any]) -> str:
    """A member's type in words."""
    match values:
        case {"$ref": reference}:
            name = reference.rpartition("/")[2]
            said = f"[{name}](#{name.lower()})"
        case {"anyOf": kinds} | {"oneOf": kinds}:
            said = " or ".join(dict.fromkeys(_kind(one) for one in kinds))
        case {"const": value}:
            said = f"`{value}`"
        case {"enum": choices}:
            said = " or ".join(f"`{one}`" for one in choices)
        case {"type": "array", "items": items}:
            said = (
                f"list of ({_kind(items)})"
                if {"anyOf", "oneOf"} & items.keys()
                else f"list of {_kind(items)}"
            )
        case {"type": "object", "additionalProperties": {**inner}} if inner:
            said = f"object of ({_kind(inner)})" if "anyOf" in inner else f"object of {_kind(inner)}"
        case {"pattern": "^[0-9a-f]{64}$"}:
            said = "SHA-256"
        case {"type": str(said)}:
            pass
        case _:
            said = "any value"
    return said


def broken_links() -> list[str]:
    """Relative links and pictures of all documents that lead to no file or no heading."""
    found = []
    for page in [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            place = page.parent / name if name else page
            if not place.exists() or (anchor and anchor not in _anchors(place)):
                found.append(f"{page.relative_to(ROOT).as_posix()}: {target}")
    return found


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def main(arguments: list[str]) -> int:
    """Write, or with --check compare. Returns the exit code."""
    problems = [f"broken link in {link}" for link in broken_links()]
    if "--check" not in arguments:
        PAGE.write_text(manifest_page(), encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != manifest_page():
        problems.append("docs/manifest.md is stale: run make docs")
    print("\n".join(problems) or "The documents are in order.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
