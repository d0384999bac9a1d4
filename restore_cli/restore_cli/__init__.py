"""Part of restore."""
