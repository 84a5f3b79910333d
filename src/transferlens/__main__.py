"""``python -m transferlens`` is the command ``transferlens``."""

from __future__ import annotations

from transferlens.cli import main

if __name__ == "__main__":
    main()
