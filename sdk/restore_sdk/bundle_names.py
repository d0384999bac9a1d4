"""What the files of a bundle are called after the stem of their source."""

from __future__ import annotations

__all__ = ["BUNDLE_SUFFIXES", "MANIFEST_SUFFIX"]

MANIFEST_SUFFIX = ".manifest.json"
BUNDLE_SUFFIXES = (".restored.png", ".edit.png", ".confidence.png", ".tlog-proof", MANIFEST_SUFFIX)
"""The manifest comes last."""
