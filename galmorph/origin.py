"""What a referee asks of a result: when, by which command and version, and whom to cite."""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

DOI = "10.48550/arXiv.2211.07168"  # of Wei and others (2022), whose encoder and protocol these are
BIBTEX = f"""\
@article{{wei2022,
  author  = {{Wei, Shoulin and Li, Yadi and Lu, Wei and Li, Nan and Liang, Bo and Dai, Wei and
             Zhang, Zhijian}},
  title   = {{Unsupervised Galaxy Morphological Visual Representation with Deep Contrastive
             Learning}},
  journal = {{Publications of the Astronomical Society of the Pacific}},
  year    = {{2022}},
  volume  = {{134}},
  number  = {{1041}},
  pages   = {{114508}},
  eprint  = {{2211.07168}},
  archivePrefix = {{arXiv}},
  doi     = {{{DOI}}}
}}
@software{{galmorph,
  author  = {{{{The galmorph developers}}}},
  title   = {{galmorph: galaxy cutouts to morphology classes and embeddings}},
  year    = {{2026}}
}}"""


def describe_origin(command: str) -> dict[str, str]:
    """Date, command, commit and paper."""
    origin = {"date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "command": command}
    origin |= {"commit": find_commit(), "doi": DOI}
    return {key: value for key, value in origin.items() if value}


def say_command(words: Sequence[str]) -> str:
    """A command line as it was typed, but for the name of the home folder."""
    return hide_home(shlex.join(["galmorph", *words]))


def hide_home(text: str) -> str:
    """The same with ``~`` for the home folder, whose name is that of a person."""
    home = os.path.expanduser("~").rstrip("/")
    return re.sub(rf"{re.escape(home)}(?=[/\s']|$)", "~", text) if home else text


@lru_cache(maxsize=1)
def find_commit() -> str:
    """Commit of a checkout that galmorph runs from; empty for an installed version."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", os.fspath(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def describe_methods(meta: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    """What a paper says of a result with that provenance; counts are rows, failed and unsure."""
    good = counts["rows"] - counts["failed"]
    version = meta["galmorph"] + (f", commit {meta['commit'][:10]}" if meta.get("commit") else "")
    sentences = [
        f"We used galmorph (version {version}) with the model {meta['model']} "
        f"({_name_file('weights', meta.get('model_sha256'))}), after the method of Wei et al. "
        f"(2022; doi:{DOI})."
    ]
    if meta.get("head"):
        sentences.append(
            f"Classes are those of the head {meta['head']} "
            f"({_name_file('head', meta.get('head_sha256'))}) on frozen embeddings."
        )
    done = "classified" if meta.get("head") else "embedded"
    sentences.append(f"Of {counts['rows']} cutouts {good} were {done}.")
    if counts["failed"]:
        sentences.append(f"{counts['failed']} could not be used and carry a flag.")
    if counts.get("unsure"):
        sentences.append(f"For {counts['unsure']} no class has half of the votes.")
    if meta.get("date"):
        sentences.append(f"The run is of {meta['date'][:10]}.")
    return " ".join(sentences)


def _name_file(what: str, sha256: object) -> str:
    return f"{what} sha256 {str(sha256)[:12]}" if sha256 else f"{what} of unknown origin"
