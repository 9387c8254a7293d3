"""``python -m galmorph``."""

from __future__ import annotations

from galmorph.cli.main import main

if __name__ == "__main__":
    main()
