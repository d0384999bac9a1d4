"""The anchors of a manifest: proofs from outside that the record existed, in logs and from timestamps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from restore_manifests.schema_fields import Count, Line, Record, Text

__all__ = ["Anchor", "LogAnchor", "PublicLogAnchor", "TimestampAnchor"]


class LogAnchor(Record):
    """A place in a transparency log. `proof` is a C2SP tlog-proof, `public_key` the log's signed-note key."""

    type: Literal["tlog-proof"]
    origin: Line
    index: Count
    tree_size: Count
    public_key: Line
    proof: Text


class PublicLogAnchor(Record):
    """A place in a public log, which holds the record's hash only. `entry` is what the log holds (base64).

    `format` says how the entry speaks of the record: `restore.digest/1` is a line with its SHA-256,
    `hashedrekord/0.0.2` an entry of Rekor v2 with the hash, the signature and the signer's key.
    """

    type: Literal["public-log"]
    format: Literal["restore.digest/1", "hashedrekord/0.0.2"]
    origin: Line
    index: Count
    tree_size: Count
    public_key: Line
    entry: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
    proof: Text


class TimestampAnchor(Record):
    """An authority's word on when. `token` is an RFC 3161 TimeStampToken (DER, base64).

    `over` says what the token is for: `record` is the RFC 8785 form of the object of `body`, `files` and
    `signatures`, so that it also shows that the signatures existed; `body` is the body alone; `checkpoint` is
    the signed text of the checkpoint in one of the log proofs, whose root hash stands for the body.
    """

    type: Literal["rfc3161"]
    token: Annotated[str, Field(min_length=1, max_length=100_000, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
    over: Literal["body", "record", "checkpoint"]


Anchor = Annotated[LogAnchor | PublicLogAnchor | TimestampAnchor, Field(discriminator="type")]
