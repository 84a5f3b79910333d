"""Published numbers, computed again by the functions that a user calls."""

from __future__ import annotations

from transferlens.verify.figure import Figure, Verification
from transferlens.verify.run import verify

__all__ = ["Figure", "Verification", "verify"]
