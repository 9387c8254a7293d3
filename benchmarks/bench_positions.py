"""Positions against a service on the loopback interface that fails 5 % of its requests.

python benchmarks/bench_positions.py [--count 10000]
Every position must have its row; says rows a second, requests, and connections at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from survey_server import serve_surveys  # noqa: E402

from galmorph import remote  # noqa: E402
from galmorph.images.ahead import bring_ahead  # noqa: E402
from galmorph.images.mosaic import Position  # noqa: E402
from galmorph.images.source import Lost  # noqa: E402
from galmorph.surveys import cutouts  # noqa: E402

PASSING = ("500", "502", "cut", "html", "drop")
LASTING = ("500*", "html*", "404*")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    remote.FIRST_PAUSE_S = 0.01
    with tempfile.TemporaryDirectory() as folder, serve_surveys() as server:
        os.environ["XDG_CACHE_HOME"] = folder
        places, lasting = [Position(str(k), round(0.01 * k, 6), 2.0) for k in range(count)], 0
        for n, place in enumerate(places[7::20]):
            kinds = LASTING if n % 2 else PASSING
            server.faults[place.ra] = [kinds[n // 2 % len(kinds)]]
            lasting += n % 2
        began = time.perf_counter()
        sources = cutouts.list_positions(places, "legacysurvey", url=server.url, fov=25.0)
        found = list(bring_ahead(sources, connections=4))
        seconds = time.perf_counter() - began
        lost = sum(isinstance(source, Lost) for source in found)
        assert [source.object_id for source in found] == [place.object_id for place in places]
        assert lost == lasting, (lost, lasting)
        print(
            f"{count} positions in {seconds:.1f} s, {count / seconds:.0f}/s; {lost} not answered, "
            f"as expected; {server.asked.total()} requests, {server.most} at once"
        )


if __name__ == "__main__":
    main()
