"""The command line: one module per command, each parses, calls one function and prints."""

from __future__ import annotations

from transferlens.cli.app import app, main

__all__ = ["app", "main"]
