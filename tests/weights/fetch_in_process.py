"""Run by the tests in a process of its own: find a model's weights and print the file's sha256.

Usage: fetch_in_process.py MANIFEST NAME [--no-lock]
"""

from __future__ import annotations

import contextlib
import sys

from huggingface_hub import file_download

from galmorph.weights.locate import locate_weights
from galmorph.weights.manifest import load_manifest

if "--no-lock" in sys.argv:
    # As on a file system where everybody gets the lock.
    file_download.WeakFileLock = contextlib.nullcontext  # type: ignore[assignment]

found = locate_weights(sys.argv[2], manifest=load_manifest(sys.argv[1]))
print(found.sha256, found.source)
