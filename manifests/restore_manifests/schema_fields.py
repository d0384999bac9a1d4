"""The kinds of value that members of a manifest have: names, hashes, counts, and their limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = [
    "Bits",
    "Channels",
    "Count",
    "FileName",
    "Line",
    "Record",
    "Scalar",
    "Sha256",
    "Size",
    "Text",
]


def _file_name(name: str) -> str:
    if name in (".", "..") or name != name.strip():
        raise ValueError("not a plain file name")
    return name


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^[^/\\\x00-\x1f\x7f]+$"), AfterValidator(_file_name)
]
Line = Annotated[str, Field(max_length=1_000)]
Text = Annotated[str, Field(max_length=100_000)]
Size = Annotated[int, Field(ge=1, lt=2**31)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Bits = Literal[8, 16]
Channels = Annotated[int, Field(ge=1, le=4)]
Scalar = int | float | str | bool | None


class Record(BaseModel):
    """What every part of a manifest is: its members and no others, of the type written, never changed."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        hide_input_in_errors=True,
    )
