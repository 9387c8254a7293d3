"""``python -m galmorph``."""

from galmorph.cli.main import main

if __name__ == "__main__":
    main()
