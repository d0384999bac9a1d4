"""One module per command: parse, call the SDK, show."""
