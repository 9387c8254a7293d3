"""Smaller frames of labelled cutouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_recut import Recut, cut_center, fit_on_both, recut_sources

from galmorph.errors import AmbiguousShapeError, BandError, MissingExtraError
from galmorph.images.cutout import Cutout
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.images.read import read_cutout
from galmorph.images.source import Source
from galmorph.model import read_model
from galmorph.pipeline import Pipeline
from galmorph.settings import ReadOptions


def make_sources(n: int) -> list[Source]:
    array = np.arange(3 * 40 * 50, dtype=np.float32).reshape(3, 40, 50) / 6000
    return [InMemory(f"{i}", Cutout(array), f"round/{i}.jpg") for i in range(n)]


def test_the_middle_is_kept() -> None:
    array = np.arange(3 * 40 * 50).reshape(3, 40, 50).astype(np.float32)
    bad = np.zeros((40, 50), dtype=bool)
    bad[20, 25] = True
    got = cut_center(Cutout(array, bad=bad), 0.5)
    np.testing.assert_array_equal(got.array, array[:, 10:30, 15:35])
    assert got.bad is not None
    assert got.bad[10, 10]
    assert got.bad.sum() == 1


def test_a_share_of_the_sources_comes_in_order_and_can_be_repeated() -> None:
    sources, recut = make_sources(200), Recut(0.5, share=0.25, seed=3)
    one, other = (list(recut_sources(sources, recut, options=ReadOptions())) for _ in range(2))
    assert [s.object_id for s in one] == [s.object_id for s in other]
    assert 30 < len(one) < 70
    assert [int(s.object_id) for s in one] == sorted(int(s.object_id) for s in one)
    assert one[0].address.startswith("round/")
    assert one[0].data.array.shape == (3, 20, 20)


def test_what_cannot_be_read_is_left_out() -> None:
    sources = [ImageFile("0", "/nowhere/0.jpg"), *make_sources(1)]
    got = list(recut_sources(sources, Recut(0.5, share=1.0), options=ReadOptions()))
    assert len(got) == 1


@pytest.mark.parametrize(
    "error",
    [
        BandError("no such band"),
        AmbiguousShapeError("4 planes"),
        MissingExtraError("tifffile", "tiff", "to read this"),
        RuntimeError("of a library"),
    ],
)
def test_whatever_is_wrong_with_a_file_it_is_left_out(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(source: Source, **options: Any) -> Cutout:
        if source.object_id == "1":
            raise error
        return read_cutout(source, **options)

    monkeypatch.setattr("fit_recut.read_cutout", read)
    got = recut_sources(make_sources(3), Recut(0.5, share=1.0), options=ReadOptions())
    assert [source.object_id for source in got] == ["0", "2"]


@pytest.mark.parametrize("given", [{"side": 0.0}, {"side": 1.5}, {"side": 0.5, "share": 0.0}])
def test_impossible_frames_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="side and share lie in 0 to 1"):
        Recut(**given)


def test_a_head_learns_from_smaller_frames(model_file: Path, galaxies: Path) -> None:
    data, classes = [str(galaxies / "train")], ("edge_on", "round")
    found, whole = fit_on_both(Pipeline(read_model(model_file)), data, classes, name="both")
    notes = found.head.notes
    assert (notes["recut"], notes["galaxies"]) == (0.5, 40)
    assert 40 < notes["rows"] < 80
    assert len(whole.labels) == 40
    assert found.accuracy > 0.9


def test_a_head_learns_from_measured_galaxies_of_merged_classes(
    model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    (tmp_path / "barred_spiral").symlink_to(galaxies / "test" / "edge_on")
    (tmp_path / "merging").symlink_to(galaxies / "test" / "round")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "spiral").symlink_to(galaxies / "train" / "edge_on")
    (tmp_path / "train" / "round").symlink_to(galaxies / "train" / "round")
    found, _ = fit_on_both(
        Pipeline(read_model(model_file)),
        [str(tmp_path / "train")],
        ("spiral", "round"),
        name="more",
        measured=[str(tmp_path / "barred_spiral"), str(tmp_path / "merging")],
    )
    notes = found.head.notes
    assert (notes["measured_rows"], notes["galaxies"]) == (8, 48)
    assert notes["cross_validated_measured"] > 0.8
