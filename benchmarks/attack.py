"""Attack galmorph in every way that is known, and write down what happened.

    python benchmarks/attack.py                                  (some minutes)
    python benchmarks/attack.py --long                           (a night)
    python benchmarks/attack.py --only mutants                   (one attack)
    python benchmarks/attack.py --long --only mutants --part catalogue.vot (one line, or some)

Each attack is tried so many times, and each try ends in one of a few ways; an end that begins with
BROKEN is a promise that does not hold, and makes the exit status 1. The account of each attack is
written to docs/notes/reliability.md, into the tables that stand under its name.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import io
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

PAGE = ROOT / "docs" / "notes" / "reliability.md"

Line = tuple[str, int, str, bool]
"""What was attacked, number of tries, how they ended, and whether a promise was broken."""


def say(counts: collections.Counter[str]) -> str:
    """Ends in words, the frequent ones first."""
    return "; ".join(f"{number} {name}" for name, number in counts.most_common())


def make_line(what: str, tries: int, counts: collections.Counter[str]) -> Line:
    """One line of the account."""
    return what, tries, say(counts), any(name.startswith("BROKEN") for name in counts)


def attack_results(long: bool, part: str) -> Iterator[Line]:
    """Partial results that are damaged, writers that are killed, full disks, two writers."""
    import logging

    from tests import attacks

    logging.disable(logging.WARNING)  # each mended block is one
    kills, disks, races, damages = (60, 200, 40, 2000) if long else (4, 12, 3, 300)
    dice = random.Random(0)
    tries: dict[str, tuple[int, Callable[[Path], collections.Counter[str]]]] = {
        "a partial result damaged in one place, then resumed": (
            damages,
            lambda folder: attacks.damage_partial(folder, damages, seed=0),
        ),
        "three runs with `--resume` on one result, one of them killed": (
            races,
            lambda folder: attacks.race_writers(folder, races, dice),
        ),
        "a run stopped until another one has taken over, then let go on": (
            races,
            lambda folder: attacks.stop_writers(folder, races, dice),
        ),
    }
    for what, attack, count in (
        ("SIGKILL, SIGTERM, SIGINT while a result is written", attacks.kill_writers, kills),
        ("a disk that is full after so many bytes", attacks.fill_disk, disks),
    ):
        for suffix in attacks.FORMATS:
            use = functools.partial(attack, suffix=suffix, tries=count, dice=dice)
            tries[f"{what}, as `{suffix}`"] = count, use
    for what, (count, use) in tries.items():
        if part in what:
            with tempfile.TemporaryDirectory() as folder:
                yield make_line(what, count, use(Path(folder)))
    logging.disable(logging.NOTSET)


def attack_pickles(long: bool, part: str) -> Iterator[Line]:
    """Pickles that would make a folder if they were opened."""
    from tests import attacks

    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "in"
        inner.mkdir()
        found = attacks.open_pickles(inner)
    yield make_line("pickles under the names of every kind of file", found.total(), found)


QUICK_KINDS = (
    *("images", "headers", "tar.gz", "packed.npz", "packed.h5", "parquet"),
    *("catalogue.csv.gz", "catalogue.fits", "catalogue.vot", "catalogue.parquet", "result.fits"),
    *("stored.model.safetensors", "stored.head.safetensors", "stored.model.onnx"),
    *("stored.manifest.json", "stored.recipe.toml"),
)


def attack_readers(long: bool, part: str) -> Iterator[Line]:
    """Mutants of whatever is read, each read in a process that may die."""
    import fuzz_readers

    options = argparse.Namespace(seed=0, count=3000 if long else 40, keep=None)
    data = Path(os.environ.get("GALMORPH_DATA", str(ROOT / ".." / "shared" / "data")))
    with tempfile.TemporaryDirectory() as folder:
        kinds = fuzz_readers.list_kinds(part, data, Path(folder))
        for name in (one for one in kinds if long or part or one in QUICK_KINDS):
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                broken = fuzz_readers.run(name, kinds[name], options)
            found = re.findall(r"^ +(\d+)  (.+)$", printed.getvalue(), re.MULTILINE)
            counts = collections.Counter({end: int(number) for number, end in found})
            bad = f"; BROKEN {broken}: {printed.getvalue().partition(name)[0]}" if broken else ""
            yield f"mutants: `{name}`", counts.total(), say(counts) + bad, bool(broken)


def attack_bombs(long: bool, part: str) -> Iterator[Line]:
    """Small files that unpack to gigabytes."""
    import fuzz_readers

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        broken = fuzz_readers.run_bombs(argparse.Namespace(kind="images"))
    form = r" MB  (\S+) .*\(([\d.]+) s of the processor\) +(\d+) MB of memory"
    lines = re.findall(form, printed.getvalue())
    counts = collections.Counter(end for end, _, _ in lines)
    most = max(float(seconds) for _, seconds, _ in lines), max(int(size) for _, _, size in lines)
    said = f"{say(counts)}; at most {most[0]:.1f} s of the processor and {most[1]} MB of memory"
    said += f"; BROKEN {broken}" * bool(broken)
    yield "bombs, one of each container", len(lines), said, bool(broken)


def classify_mutants(kind: str, count: int) -> str:
    """How so many mutants of a compression end in a run of the command."""
    from astropy.table import Table
    from mutants import make_seeds, mutate

    from galmorph.flags import decode_flags

    whole, rng = make_seeds()[f"fits_{kind}"], random.Random(f"{kind} 0")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in").mkdir()
        for number in range(count):
            (Path(folder) / "in" / f"m{number:05d}.fits").write_bytes(mutate(whole, rng))
        out = Path(folder) / "out.ecsv"
        command = ["classify", str(out.with_name("in")), "-q", "-o", str(out), "--strict"]
        done = subprocess.run(
            [sys.executable, "-m", "galmorph", *command],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 1 or "Traceback" in done.stderr:
            return f"BROKEN status {done.returncode}: {done.stderr[-500:]}"
        table = Table.read(out)
    if list(table["object_id"]) != [f"m{number:05d}" for number in range(count)]:
        return f"BROKEN {len(table)} rows of {count}, or in another order"
    names = collections.Counter(name for flags in table["flags"] for name in decode_flags(flags))
    failed, crashed = names["read_failed"], names["reader_crashed"]
    return (
        f"{count} rows in order, status as for bad files: {count - failed} read, {failed} refused, "
        f"{crashed} of these since a library crashed or took too much memory"
    )


def attack_decoders(long: bool, part: str) -> Iterator[Line]:
    """Mutants of compressed FITS through whole runs: libraries crash, rows are there."""
    count = 2000 if long else 60
    kinds = ("hcompress_1", "rice_1", "rice_float", "gzip_1", "gzip_2", "plio_1")
    for kind in (one for one in kinds if part in f"`{one}`"):
        said = classify_mutants(kind, count)
        yield f"`galmorph classify` of mutants: `{kind}`", count, said, said.startswith("BROKEN")


TESTS = (
    (
        "Ctrl-C and SIGTERM, up to three, at a real command; readers asleep",
        "",
        "cli/test_leaving.py",
    ),
    ("model, head or graph replaced before `--resume`", "replaced", "cli/test_published.py"),
    (
        "user, host, home and environment sought in all that is written",
        *("machine", "cli/test_published.py"),
    ),
    ("owner files: dead, stale, of another machine, without links", "", "tables/test_owner.py"),
    (
        "references to other files and to the network",
        "no_other_file or fifo or within or bytes_of_a_file",
        *("images", "tables/test_surveys.py", "test_stored.py"),
    ),
    (
        "graphs that loop for ever, or give one row for all; models that are not finite",
        *("no_working_encoder or not_finite or no_numbers", "test_stored.py"),
    ),
)
"""What is attacked, an expression that selects some tests, and where they are."""


def attack_by_tests(long: bool, part: str) -> Iterator[Line]:
    """Attacks that are tests of the suite."""
    for what, chosen, *files in (one for one in TESTS if part in one[0]):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [f"tests/{name}" for name in files]
        done = subprocess.run(
            [*command, "-k", chosen], cwd=ROOT, capture_output=True, text=True, check=False
        )
        counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed)", done.stdout)}
        passed, failed = counts.get("passed", 0), counts.get("failed", 0)
        said = f"{passed} as promised" + (f"; BROKEN {failed}" if done.returncode else "")
        yield what, passed + failed, said, done.returncode != 0


def attack_reading(long: bool, part: str) -> Iterator[Line]:
    """One file in a hundred ends its process, sleeps, or eats memory."""
    from common import ProcessorClock
    from hostile import Hostile
    from synthetic import make_flux, write_fits

    from galmorph import load_model
    from galmorph.images.files import ImageFile
    from galmorph.inference.engine import run_inference
    from galmorph.settings import EngineOptions

    count, rounds = (5000, 3) if long else (2000, 1)  # fewer would wait for what sleeps
    model, options = load_model(), EngineOptions(device="cpu", workers=2)
    kinds = {"abort": "calls `os.abort()`", "eat": "eats memory", "sleep": "sleeps"}
    with tempfile.TemporaryDirectory() as folder:
        write_fits(Path(folder) / "a.fits", make_flux(("g", "r", "z"), side=100), BANDS="grz")
        files = [ImageFile(f"g{n}", f"{folder}/{n}.fits") for n in range(count)]
        for file in files:
            Path(file.path).hardlink_to(Path(folder) / "a.fits")

        def time_run(kind: str) -> tuple[float, float]:
            listed = list(files)
            for number in range(50, count, 100) if kind else ():
                listed[number] = Hostile(kind, files[number].path)
            with ProcessorClock() as clock:
                blocks = list(run_inference(model, listed, options=options))
            rows = [row for block in blocks for row in block.rows]
            assert [row.object_id for row in rows] == [source.object_id for source in listed]
            assert sum(bool(row.error) for row in rows) == sum(
                a != b for a, b in zip(files, listed, strict=True)
            )
            return clock.processor, clock.passed

        time_run("")
        for kind in (one for one in kinds if part in one):
            seconds = [(time_run(""), time_run(kind)) for _ in range(rounds)]
            work, passed = (
                min(bad[k] for _, bad in seconds) / min(good[k] for good, _ in seconds) - 1
                for k in (0, 1)
            )
            lost = 1 - 1 / (1 + passed)
            said = (
                f"all rows in order; {work:.0%} more processor time, {lost:.0%} of the throughput"
            )
            broken = work >= 0.2 or (long and lost >= 0.2)
            said = f"BROKEN {said}" if broken else said
            yield f"a reader that {kinds[kind]}, at 1 in 100 files", count * rounds, said, broken


def attack_places(long: bool, part: str) -> Iterator[Line]:
    """The same to the last bit, wherever it is computed."""
    import numpy as np
    from common import to_onnx
    from everywhere import USES, compare, write_files
    from inference_model import make_model

    model = make_model()
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder))
        for name, use in ((name, use) for name, use in USES.items() if part in name):
            made, others = compare(use, model, files, 60 if long else 5)
            said = "the same to the last bit" if not others else f"BROKEN {others} others"
            yield f"a model used in: {name}", made, said, bool(others)

        def embed_by(model: Any, **given: Any) -> Any:
            settings = {"precision": "float32", "device": "cpu", "progress": False, **given}
            return model.embed(files * 4, **settings)

        embed = functools.partial(embed_by, model)

        results = [embed(workers=workers) for workers in (1, 2, 4)]
        same = all(np.array_equal(results[0], one) for one in results)
        yield (
            "1, 2 and 4 workers",
            3,
            "the same to the last bit" if same else "BROKEN others",
            not same,
        )
        for what, tries, bound, others in (
            ("batches of 1, 3, 7 and 32", 4, 1e-5, [embed(batch_size=n) for n in (1, 3, 7)]),
            ("the backend onnx", 1, 1e-4, [embed_by(to_onnx(model))]),
            ("precision bfloat16", 1, 0.05, [embed(precision="bfloat16")]),
        ):
            far = max(float(np.abs(one - results[0]).max()) for one in others)
            far /= float(np.abs(results[0]).max())
            said = f"at most {far:.0e} of the largest feature; {bound:g} is promised"
            yield what, tries, said if far <= bound else f"BROKEN {said}", far > bound


ATTACKS: dict[str, Callable[[bool, str], Iterator[Line]]] = {
    "results": attack_results,
    "tests": attack_by_tests,
    "pickles": attack_pickles,
    "bombs": attack_bombs,
    "mutants": attack_readers,
    "decoders": attack_decoders,
    "readers": attack_reading,
    "places": attack_places,
}


def write_section(
    name: str, lines: list[Line], times: list[float], long: bool, whole: bool
) -> None:
    """Put lines into a table of an attack: all that it has, or in place of those of their names."""
    text = PAGE.read_text(encoding="utf-8")
    title = f"## {str(ATTACKS[name].__doc__).rstrip('.')}\n\n"
    before, _, rest = text.partition(title)
    section, mark, after = rest.partition("\n## ")
    columns = ["attack with `--long`" if long else "attack", "tries", "what happened"]
    columns += ["it took"] * long
    head = f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n"
    table = re.search(re.escape(head) + r"((?:\|.*\n)*)", section)
    old = table[1].splitlines(keepends=True) if table and not whole else []
    rows = {row.split(" | ")[0]: row for row in old}
    for (what, tries, said, _), seconds in zip(lines, times, strict=True):
        cells = [what, f"{tries:,}", " ".join(said.replace("|", "/").split())] + [
            f"{seconds / 60:.1f} min"
        ] * long
        rows[f"| {what}"] = f"| {' | '.join(cells)} |\n"
    made = head + "".join(rows.values())
    section = section.replace(table[0], made) if table else f"{section}\n{made}"
    PAGE.write_text(before + title + section + mark + after, encoding="utf-8")


def main() -> int:
    """Carry out the attacks, and write each into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--long", action="store_true", help="a night's work")
    parser.add_argument("--only", choices=ATTACKS, help="this attack alone")
    parser.add_argument("--part", default="", help="the lines of this name")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    broken = 0
    for name in [options.only] if options.only else ATTACKS:
        lines, times, start = [], [], time.monotonic()
        for line in ATTACKS[name](options.long, options.part):
            lines.append(line)
            times.append(time.monotonic() - start - sum(times))
            print(f"{line[1]:6d}  {line[0]}: {line[2]}", flush=True)
            write_section(name, lines, times, options.long, whole=False)
        broken += sum(bad for *_, bad in lines)
        write_section(name, lines, times, options.long, whole=not options.part)
    print(f"promises broken: {broken}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
