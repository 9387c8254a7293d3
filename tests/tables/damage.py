"""Damage a partial result and look what comes of it; shared with benchmarks/attack.py."""

from __future__ import annotations

import random
from collections import Counter

from galmorph.errors import ResumeError
from galmorph.tables import open_writer
from galmorph.tables.journal import partial_path
from tests.tables.table_cases import META, make_block

RUN = {"weights": {"sha256": "ab"}, "options": {"stretch": "auto", "eps": 1e-05}, "inputs": ["d"]}


def whole(folder, name, specs, rows=50):
    folder.mkdir()
    with open_writer(folder / name, specs, META, fingerprint=RUN) as writer:
        writer.append(make_block(0, rows))
    return (folder / name).read_bytes()


def leave_blocks(path, specs, rows=42, size=7):
    """A partial result of several blocks, and where each ends."""
    writer, ends = open_writer(path, specs, META, fingerprint=RUN), []
    for start in range(0, rows, size):
        ends.append(partial_path(path).stat().st_size)
        writer.append(make_block(start, start + size))
    writer.abandon()
    return partial_path(path), [*ends, partial_path(path).stat().st_size]


def redo(path, specs, rows=42):
    """Rows that are done again by a run that resumes."""
    block = make_block(0, rows)
    inputs = list(enumerate(zip(block["object_id"], block["path"], strict=True)))
    with open_writer(path, specs, META, fingerprint=RUN, resume=True) as writer:
        done, rest = 0, [number for number, _ in writer.skip_done(inputs, key=lambda item: item[1])]
        while done < len(rest):
            count = next(
                n
                for n in (5, 3, 1)
                if rest[done : done + n] == [*range(rest[done], rest[done] + n)]
            )
            writer.append(make_block(rest[done], rest[done] + count))
            done += count
    return rest


def damage(data, dice):
    """One random damage: flip, cut, swap, zero, duplicate or append."""
    kind, size = dice.choice(["flip", "cut", "swap", "zero", "duplicate", "append"]), len(data)
    a, b = sorted(dice.sample(range(size), 2))
    stop = min(b, a + dice.choice([1, 8, 200, 3000]))
    if kind == "flip":
        return data[:a] + bytes([data[a] ^ 1 << dice.randrange(8)]) + data[a + 1 :]
    if kind == "cut":
        return data[:a] + (data[stop:] if dice.random() < 0.5 else b"")
    if kind == "swap":
        return data[:a] + data[stop:b] + data[a:stop] + data[b:]
    if kind == "zero":
        return data[:a] + bytes(stop - a) + data[stop:]
    if kind == "duplicate":
        return data[:b] + data[a:stop] + data[b:]
    return data + dice.choice([data[a:stop], dice.randbytes(stop - a), bytes(stop - a)])


def attack(folder, specs, tries, *, seed):
    """What became of so many damages, counted."""
    path, dice, counts = folder / "out.ecsv", random.Random(seed), Counter()
    partial, _ = leave_blocks(path, specs)
    data, expected = partial.read_bytes(), whole(folder / "whole", path.name, specs, rows=42)
    for _ in range(tries):
        partial.write_bytes(damage(data, dice))
        try:
            redo(path, specs)
            counts["same" if path.read_bytes() == expected else "silent"] += 1
        except ResumeError as error:
            counts["refused" if "\n" not in str(error) else "tracebacks"] += 1
        except Exception:
            counts["tracebacks"] += 1
    return counts
