"""Read the FITS test data that astropy ships, each file in a process of its own, and list the rows.

    python tools/list_astropy_fits.py docs/notes/fits_of_astropy.md

Headers alone (``.hdr``) are put above an image of 16 x 16 pixels. The position is held against what
astropy's own WCS of that HDU says of the same pixel.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
PATTERNS = ("*.fits", "*.fits.*", "*.hdr")
LIMIT_S = 60
SIDE = 16


def list_files() -> list[Path]:
    """All FITS files and headers beside the tests of astropy."""
    import astropy

    root = Path(astropy.__file__).parent
    folders = (root / "io/fits/tests/data", root / "wcs/tests/data")
    return sorted({p for folder in folders for pattern in PATTERNS for p in folder.rglob(pattern)})


def make_image(path: Path) -> bytes:
    """The file, or an image below its header."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if path.suffix != ".hdr":
        return data
    text = data.decode("latin-1")
    cards = (
        text.splitlines() if "\n" in text else [text[n : n + 80] for n in range(0, len(text), 80)]
    )
    skipped = (
        "SIMPLE",
        "BITPIX",
        "NAXIS",
        "END",
        "EXTEND",
        "BSCALE",
        "BZERO",
        "XTENSION",
        "PCOUNT",
    )
    kept = [card.ljust(80)[:80] for card in cards if not card.startswith(skipped)]
    first = {"SIMPLE": "T", "BITPIX": "-32", "NAXIS": "2", "NAXIS1": str(SIDE), "NAXIS2": str(SIDE)}
    lines = [f"{key:8}= {value:>20}".ljust(80) for key, value in first.items()]
    header = "".join([*lines, *kept, "END".ljust(80)])
    pixels = np.arange(SIDE * SIDE, dtype=">f4").tobytes()
    blocks = header.ljust(-(-len(header) // 2880) * 2880).encode("ascii", "replace")
    return blocks + pixels.ljust(2880, b"\0")


def read_one(path: Path) -> dict[str, Any]:
    """What becomes of a file: HDU, size, position, and what astropy says of the position."""
    from galmorph.errors import GalmorphError
    from galmorph.images.read import read_cutout

    data = make_image(path)
    try:
        cutout = read_cutout(data)
    except GalmorphError as error:
        return {"error": str(error)}
    found = {"hdu": cutout.notes["hdu"], "shape": cutout.array.shape, "notes": dict(cutout.notes)}
    theirs = ask_astropy(data, int(cutout.notes["hdu"].split()[0].rstrip(",")))
    return found | {"ra": cutout.ra, "dec": cutout.dec, "scale": cutout.pixel_scale} | theirs


def ask_astropy(data: bytes, number: int) -> dict[str, Any]:
    """Position of the central pixel by astropy alone."""
    from astropy.io import fits
    from astropy.wcs import WCS

    warnings.simplefilter("ignore")
    try:
        with fits.open(io.BytesIO(data)) as hdus:
            hdu = hdus[number]
            wcs = WCS(hdu.header, hdus).celestial
            x, y = (hdu.shape[-1] - 1) / 2, (hdu.shape[-2] - 1) / 2
            sky = wcs.pixel_to_world(x, y).icrs
        return {"their_ra": float(sky.ra.deg), "their_dec": float(sky.dec.deg)}
    except Exception as error:  # of astropy, of many kinds
        return {"their_error": " ".join(f"{type(error).__name__}: {error}".split())[:90]}


def judge(found: dict[str, Any]) -> tuple[str, str]:
    """Position and verdict as they stand in the list."""
    if "error" in found:
        return "", f"refused: {found['error']}"
    ra, dec, remark = found["ra"], found["dec"], found["notes"].get("message", "")
    position = "" if ra != ra else f"{ra:.5f} {dec:+.5f}, {found['scale']:.4g} arcsec"
    if "their_ra" not in found:
        said = "no celestial WCS for astropy either" if ra != ra else found["their_error"]
    elif ra != ra:
        said = f"no position; astropy: {found['their_ra']:.5f} {found['their_dec']:+.5f}"
    else:
        east = (found["their_ra"] - ra) * np.cos(np.radians(dec))
        far = float(np.hypot(east, found["their_dec"] - dec)) * 3600
        said = "as astropy" if far < 0.1 else f"{far:.3g} arcsec from astropy"
    return position, "; ".join(filter(None, ("read", said, remark)))


def main(argv: list[str]) -> int:
    """Write the list; the exit status is 1 where a process died or hung."""
    if argv[:1] == ["--one"]:
        print(json.dumps(read_one(Path(argv[1]))))
        return 0
    lines, broken = [], 0
    for path in list_files():
        command = [sys.executable, __file__, "--one", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        name = "/".join(path.parts[path.parts.index("astropy") + 1 :]).replace("/tests/data", "")
        if done.returncode:
            broken += 1
            lines.append(f"| {name} | | | DIED: status {done.returncode} |")
            continue
        found = json.loads(done.stdout)
        position, verdict = judge(found)
        shape = " x ".join(map(str, found.get("shape", ())))
        hdu = f"{found['hdu']}: {shape}" if shape else ""
        lines.append(f"| {name} | {hdu} | {position} | {verdict.replace('|', '/')} |")
    import astropy

    text = HEAD.format(version=astropy.__version__, count=len(lines), broken=broken)
    Path(argv[0]).write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} files, {broken} died")
    return 1 if broken else 0


HEAD = """---
orphan: true
---

# The FITS test data of astropy

Made by `python tools/list_astropy_fits.py docs/notes/fits_of_astropy.md` with astropy {version}: the {count} files of
`astropy/io/fits/tests/data` and `astropy/wcs/tests/data`, each read in a process of its own; {broken} died. Headers alone
(`.hdr`) stand above an image of 16 x 16 pixels. The third column is the centre (ICRS) and the pixel scale of the row.

| file | HDU: bands x rows x columns | position, scale | verdict |
|---|---|---|---|
"""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
