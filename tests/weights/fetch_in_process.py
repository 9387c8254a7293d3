"""Run by the tests in a process of its own: find a model's weights and print the file's sha256.

Usage: fetch_in_process.py MANIFEST NAME [--no-lock]
"""

from __future__ import annotations

import contextlib
import sys

from galmorph.weights import hub, load_manifest, locate_weights

if "--no-lock" in sys.argv:
    # As on a file system where everybody gets the lock.
    hub._lock = lambda folder, etag: contextlib.nullcontext()  # type: ignore[assignment]

found = locate_weights(sys.argv[2], manifest=load_manifest(sys.argv[1]))
print(found.sha256, found.source)
