"""Damaged tables: a catalogue and a result of every format, and ways to break text.

Shared with benchmarks/.
"""

from __future__ import annotations

import gzip
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from mutants import mutate

_CATALOGUES = (
    *("csv", "csv.gz", "tsv", "ecsv", "ecsv.gz", "fits", "fits.gz", "vot", "tbl", "jsonl"),
    *("parquet", "hats"),
)
_RESULTS = ("csv", "ecsv", "fits", "vot", "parquet", "jsonl", "npz", "npy")
KINDS = tuple(f"catalogue.{end}" for end in _CATALOGUES) + tuple(
    f"result.{end}" for end in _RESULTS
)
"""Catalogues ("hats" is a Parquet file of a folder), and what ``--resume`` and ``search`` read."""

IPAC = r"""\catalog='toy'
| file  | id | ra      | dec     | kmag  |
| char  | int| double  | double  | real  |
|       |    | deg     | deg     | mag   |
| null  |null| null    | null    | null  |
 a.jpg   1   10.5      -2.25     12.5
 b.jpg   2   11.5      -3.25     null
"""
_ODD = (
    '"', "''", "", " ", "\n", "\r", "\0", "#", "%", "\\", "nan", "1e999", "-", "1_0", "٣", "\ufeff",
    "[", "{}", "[]", "null", "true", "- ", "!!python/object:os.system {}", "&a [*a]", "\x85",
    "\u2028", "99999999999999999999", "-9223372036854775809", "9" * 5000, "string", "float32[3]",
    "float64[9999999999]", "object", "datatype", "</TD>", "<TR>", '<!ENTITY a "b">', "arraysize",
    "&amp;", "unicodeChar", "12:61:99", "delimiter", "subtype", "BINARY", "float",
)  # fmt: skip
_WORD = re.compile(r"(?<![\w.+-])[\w.+-]+|[^\w\s]")


def make_catalogue() -> Table:
    """A small table with what catalogues have: numbers, gaps, text, vectors, units."""
    table = Table({"file": ["a.jpg", "b ö.jpg", "c.jpg"], "id": [2**53 + 1, 7, 8]})
    table["ra"], table["dec"] = [1.5, 2.5, 3.5], [-1.0, 0.0, 1.0]
    table["ra"].unit = table["dec"].unit = "deg"
    table["n"] = MaskedColumn([3, 4, 5], mask=[False, True, False], dtype="i4")
    table["bar"] = [True, False, True]
    table["v"], table["w"] = np.ones((3, 3), "f4"), np.arange(6).reshape(3, 2)
    return table


def write_seeds(folder: Path, kind: str) -> list[bytes]:
    """Whole files of a kind: of galmorph's own, and where that is another, of astropy's."""
    from pyarrow import parquet

    from galmorph.tables import open_writer, result_columns, write_table
    from galmorph.tables.columns import class_columns

    group, _, ending = kind.partition(".")
    form = ending.removesuffix(".gz").replace("hats", "parquet").replace("tsv", "csv")
    path, other = folder / f"seed.{form}", folder / f"other.{form}"
    if group == "result":
        specs = result_columns(class_columns(["smooth", "spiral"]), embedding_dim=3)
        with open_writer(path, specs, {"model": {"name": "m"}, "mean": [0.5]}) as writer:
            writer.append(make_rows(6))
    elif form == "tbl":
        path.write_text(IPAC)
    else:
        write_table(make_catalogue(), path)
        if form == "fits":
            _write_columns(other)
        elif form == "vot":
            make_catalogue().write(other, format="votable", tabledata_format="binary2")
        elif form == "parquet":  # unpacked, so that the pages themselves are broken
            parquet.write_table(parquet.read_table(path), other, compression="none")
        elif form == "ecsv":
            make_catalogue().write(other)
    seeds = [file.read_bytes() for file in (path, other) if file.exists()]
    if ending == "tsv":
        seeds = [seed.replace(b",", b"\t") for seed in seeds]
    return [gzip.compress(s, mtime=0) for s in seeds] if ending.endswith(".gz") else seeds


def _write_columns(path: Path) -> None:
    """Columns as surveys have them: of changing length, scaled, unsigned, in bits."""
    names = np.array(["a.jpg", "b.jpg", "c.jpg"])
    lengths = np.array([np.arange(3.0), np.arange(1.0), np.arange(2.0)], dtype=object)
    fits.BinTableHDU.from_columns(
        [
            fits.Column("file", "8A", array=names),
            fits.Column("id", "K", array=np.arange(3), null=2),
            fits.Column("ra", "D", "deg", array=np.arange(3.0)),
            fits.Column("dec", "E", "deg", array=np.arange(3.0)),
            fits.Column("many", "PD()", array=lengths),
            fits.Column("u", "J", bzero=2**31, array=np.arange(3, dtype="u4")),
            fits.Column("scaled", "I", array=np.arange(3, dtype="i2")),
            fits.Column("bits", "11X", array=np.ones((3, 11), bool)),
            fits.Column("several", "12A", dim="(4,3)", array=np.full((3, 3), "abcd")),
            fits.Column("c", "C", array=np.ones(3, "c8")),
        ]
    ).writeto(path)
    fits.setval(path, "TSCAL7", value=0.5, ext=1)


def make_rows(count: int) -> dict[str, Any]:
    """Rows of a result."""
    names, chance = [f"{k} ö" for k in range(count)], np.linspace(0, 1, count, dtype="f4")
    columns: dict[str, Any] = dict.fromkeys(("object_id", "path"), names)
    columns |= {"label": ["spiral"] * count, "message": [""] * count, "flags": np.arange(count)}
    numbers = ("ra", "dec", "confidence", "p_smooth", "p_spiral", "atypicality")
    return columns | dict.fromkeys(numbers, chance) | {"embedding": np.outer(chance, [1, 2, 3])}


def mutate_text(data: bytes, rng: random.Random) -> bytes:
    """Break text by its words and lines, or any file by its bytes; what is packed, within."""
    if data[:2] == b"\x1f\x8b":
        if rng.random() < 0.4:
            return mutate(data, rng)
        return gzip.compress(mutate_text(gzip.decompress(data), rng), 1, mtime=0)
    if rng.random() < 0.4:
        return mutate(data, rng)
    text = data.decode("utf-8", "surrogateescape")
    for _ in range(rng.randint(1, 3)):
        text = rng.choice((_change_word, _change_word, _swap_words, _change_line))(text, rng)
    return text.encode("utf-8", "surrogateescape")


def _choose_word(text: str, rng: random.Random) -> re.Match[str]:
    """The next word after any place: a mutant may have megabytes."""
    found = _WORD.search(text, rng.randrange(len(text) + 1)) or _WORD.search(text)
    return found or re.match("", text)  # type: ignore[return-value]


def _change_word(text: str, rng: random.Random) -> str:
    word, odd = _choose_word(text, rng), rng.choice(_ODD)
    return text[: word.start()] + odd + text[rng.choice((word.start(), word.end())) :]


def _swap_words(text: str, rng: random.Random) -> str:
    a, b = sorted((_choose_word(text, rng) for _ in range(2)), key=lambda word: word.start())
    if a.end() > b.start():
        return text
    return text[: a.start()] + b.group() + text[a.end() : b.start()] + a.group() + text[b.end() :]


def _change_line(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    way = rng.randrange(4)
    if way == 0:
        del lines[a]
    elif way == 1:
        lines[a:a] = [lines[b]] * rng.choice((1, 2, 500))
    elif way == 2:
        lines[a], lines[b] = lines[b], lines[a]
    else:
        lines[a] += lines[b]
    return "\n".join(lines)
