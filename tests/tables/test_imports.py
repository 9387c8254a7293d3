from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "astropy", "pyarrow", "yaml", "PIL", "galmorph.images")

CODE = """
import sys
import galmorph.tables as tables
before = set(sys.modules)
for name in tables.__all__:
    getattr(tables, name)
specs = tables.result_columns()
row = {s.name: [""] if s.is_text else [0] for s in specs}
with tables.open_writer(sys.argv[1], specs) as writer:
    writer.append(row)
print([name for name in %r if name in sys.modules])
"""


def loaded(tmp_path, form):
    done = subprocess.run(
        [sys.executable, "-c", CODE % (HEAVY,), str(tmp_path / f"out.{form}")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    return done.stdout.strip()


def test_writing_csv_loads_nothing_heavy(tmp_path):
    assert loaded(tmp_path, "csv") == "[]"


def test_fits_loads_astropy_alone(tmp_path):
    assert "'astropy'" in loaded(tmp_path, "fits")
    assert "'torch'" not in loaded(tmp_path, "fits")
