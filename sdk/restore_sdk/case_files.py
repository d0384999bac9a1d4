"""The files of one restoration, read once: what a report shows and an export speaks of.

The names in a manifest are a stranger's words; they are looked for as a verification looks for them, beside
the manifest and then beside the result, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from restore_manifests.errors import ManifestError, UsageError
from restore_manifests.schema import Manifest, parse_manifest
from restore_sdk.bundle_names import MANIFEST_SUFFIX
from restore_sdk.verification import beside, read_file

__all__ = ["CaseFiles", "open_case"]


@dataclass(frozen=True)
class CaseFiles:
    """One record with its files. What is not there is None or absent; nothing here has been checked."""

    manifest_path: Path
    result_path: Path
    source_path: Path | None
    manifest: bytes
    result: bytes
    source: bytes | None
    maps: dict[str, tuple[str, bytes]]
    """Recorded name and bytes, by `edit` and `confidence`."""
    record: Manifest | None
    """None where the manifest does not follow the schema."""

    @property
    def stem(self) -> str:
        """What the names of the bundle's files begin with."""
        return self.manifest_path.name.removesuffix(MANIFEST_SUFFIX).removesuffix(".json")

    def beside_manifest(self, ending: str) -> Path:
        """`<stem>.<ending>` in the folder of the manifest."""
        return self.manifest_path.with_name(f"{self.stem}.{ending}")


def open_case(manifest: Path, *, result: Path | None = None, source: Path | None = None) -> CaseFiles:
    """Read a manifest and the files that belong to it.

    `result` and `source` name files that are not where the manifest says. Raises UsageError if a file named
    cannot be read, or if there is no result.
    """
    data = read_file(manifest)
    try:
        record = parse_manifest(data)
    except ManifestError:
        record = None  # the verification says what is wrong with it
    if result is None:
        name = record.files.result.name if record else ""
        result = beside(manifest.parent, name) if name else None
        if result is None:
            raise UsageError(
                f"The result {name!a} is not beside {manifest}."
                if name
                else f"{manifest} does not follow the schema, so that it does not name its result.",
                hint="Name the restored image with --result.",
            )
    folders = (manifest.parent, result.parent)
    maps = {}
    if record:
        source = source or _find(record.body.source.name, folders)
        for kind, recorded in (("edit", record.body.maps.edit), ("confidence", record.body.maps.confidence)):
            if recorded and (path := _find(recorded.name, folders)):
                maps[kind] = (recorded.name, read_file(path))
    return CaseFiles(
        manifest_path=manifest,
        result_path=result,
        source_path=source,
        manifest=data,
        result=read_file(result),
        source=read_file(source) if source else None,
        maps=maps,
        record=record,
    )


def _find(name: str, folders: tuple[Path, ...]) -> Path | None:
    return next((path for folder in folders if (path := beside(folder, name))), None)
