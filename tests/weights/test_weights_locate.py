"""From a name or a path to a checked file: the order, and what is refused on the way."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from hub_server import HubServer
from weights_samples import make_entry, make_weights

from galmorph.errors import (
    CheckpointError,
    ChecksumError,
    DownloadError,
    GalmorphWarning,
    OfflineError,
    UnknownModelError,
    WeightsError,
)
from galmorph.weights import hub as environment
from galmorph.weights import locate as locate_module
from galmorph.weights.locate import WeightsFile, copy_to_folder, locate_weights, verify_local
from galmorph.weights.manifest import Manifest, ManifestEntry
from galmorph.weights.verify import compute_sha256, verify_file

ROOT = Path(__file__).resolve().parents[2]


def locate(entry: ManifestEntry, *, offline: bool = False) -> WeightsFile:
    with patch.dict(os.environ, {"HF_HUB_OFFLINE": "1"} if offline else {}):
        return locate_weights(entry.name, manifest=Manifest((entry,)))


NOT_WHOLE = "is not a whole safetensors file"


@pytest.fixture
def bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: Path, weights_bytes: bytes
) -> ManifestEntry:
    """An entry whose file the package carries, not published on the Hub."""
    folder = tmp_path / "bundled"
    folder.mkdir()
    (folder / "carried.safetensors").write_bytes(weights_bytes)
    monkeypatch.setattr(locate_module, "BUNDLED", folder)
    return make_entry(weights_bytes, repo_id=None, revision=None, bundled="carried.safetensors")


# Paths


def test_an_explicit_path_goes_first(clean_environment: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(make_weights(5))
    found = locate_weights(path)
    assert found.path == path
    assert found.source == "path"
    assert found.entry is None
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert locate_weights(str(path)).path == path


def test_a_name_with_the_ending_is_a_path(
    clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.safetensors").write_bytes(make_weights())
    assert locate_weights("mine.safetensors").path == Path("mine.safetensors")


def test_a_path_in_the_home_folder(clean_environment: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(make_weights())  # HOME is tmp_path
    assert locate_weights("~/mine.safetensors").path == tmp_path / "mine.safetensors"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, WeightsError, "does not exist"),
        (lambda path: path.mkdir(), WeightsError, "is a folder, not a weights file"),
        (lambda path: path.write_bytes(b""), CheckpointError, NOT_WHOLE),
        (lambda path: path.write_bytes(b"\xff" * 100), CheckpointError, NOT_WHOLE),
        (lambda path: path.write_bytes(make_weights()[:-1]), CheckpointError, NOT_WHOLE),
        (lambda path: path.write_bytes(make_weights()[:40]), CheckpointError, NOT_WHOLE),
        (lambda path: path.write_bytes(make_weights() + b"x"), CheckpointError, NOT_WHOLE),
        (
            lambda path: path.write_bytes(b"PK\x03\x04" + b"0" * 50),
            CheckpointError,
            "is a pickled checkpoint",
        ),
        (
            lambda path: path.write_bytes(b"\x80\x02}q\x00." * 9),
            CheckpointError,
            "is a pickled checkpoint",
        ),
        (
            lambda path: path.write_bytes(b"\x04" + b"\0" * 7 + b"[[]]"),
            CheckpointError,
            NOT_WHOLE,
        ),
    ],
)
def test_a_path_that_is_no_whole_safetensors_file_is_named(
    clean_environment: Path, tmp_path: Path, make: object, error: type, message: str
) -> None:
    path = tmp_path / "mine.safetensors"
    make(path)  # type: ignore[operator]
    with pytest.raises(error, match=message) as caught:
        locate_weights(path)
    assert str(path) in str(caught.value)


def test_a_name_that_is_not_in_the_manifest_is_told_apart_from_a_path(
    clean_environment: Path,
) -> None:
    with pytest.raises(UnknownModelError, match=r"no model 'nonsense'; known: .*zoobot"):
        locate_weights("nonsense")


def test_a_sha256_beside_a_path_is_respected(clean_environment: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(make_weights())
    (tmp_path / "mine.safetensors.sha256").write_text("0" * 64 + "  mine.safetensors\n")
    with pytest.raises(ChecksumError, match="is not the published file"):
        locate_weights(path)


# The package and the Hub


def test_bundled_weights_need_no_network(bundled: ManifestEntry) -> None:
    found = locate(bundled, offline=True)
    assert found.source == "bundled"
    assert found.revision is None


def test_bundled_goes_before_the_hub(
    bundled: ManifestEntry, hub: HubServer, weights_bytes: bytes
) -> None:
    commit = hub.add_repo("galaxies/demo", {"demo.safetensors": weights_bytes})
    entry = make_entry(weights_bytes, revision=commit, bundled="carried.safetensors")
    assert locate(entry).source == "bundled"
    assert hub.seen == []


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:-1] + b"!", lambda b: b""])
def test_a_damaged_bundled_file_is_refused(bundled: ManifestEntry, damage: object) -> None:
    path = locate_module.BUNDLED / "carried.safetensors"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with (
        pytest.warns(GalmorphWarning, match=r"refused: .*carried\.safetensors"),
        pytest.raises(ChecksumError, match=r"carried\.safetensors.*install galmorph again"),
    ):
        locate(bundled)


def test_a_damaged_bundled_file_is_replaced_from_the_hub(
    bundled: ManifestEntry, hub: HubServer, weights_bytes: bytes
) -> None:
    commit = hub.add_repo("galaxies/demo", {"demo.safetensors": weights_bytes})
    (locate_module.BUNDLED / "carried.safetensors").write_bytes(weights_bytes[:500])
    entry = make_entry(weights_bytes, revision=commit, bundled="carried.safetensors")
    with pytest.warns(GalmorphWarning, match=r"carried\.safetensors: is cut short: 500 bytes"):
        found = locate(entry)
    assert (found.source, found.revision) == ("hub", commit)
    assert found.path.read_bytes() == weights_bytes


def test_what_is_not_published_is_not_asked_for(
    hub: HubServer, clean_environment: Path, weights_bytes: bytes
) -> None:
    entry = make_entry(weights_bytes, repo_id=None, revision=None, bundled="none.safetensors")
    with pytest.raises(DownloadError, match=r"demo: is not published on .* install galmorph again"):
        locate(entry)
    assert hub.seen == []


def test_where_a_file_came_from_is_recorded(published: ManifestEntry) -> None:
    first = locate(published)
    assert (first.source, first.revision) == ("hub", published.revision)
    assert first.sha256 == published.sha256
    second = locate(published)
    assert (second.source, second.revision) == ("cache", published.revision)


def test_the_repository_stands_for_the_name(published: ManifestEntry) -> None:
    found = locate_weights("hf_hub:galaxies/demo", manifest=Manifest((published,)))
    assert found.entry == published


# Encoders of others


@pytest.fixture
def pickled(hub: HubServer, tmp_path: Path) -> ManifestEntry:
    """A timm encoder that is published as a pickle only, and not pinned."""
    torch = pytest.importorskip("torch")
    path = tmp_path / "pytorch_model.bin"
    torch.save({"stem.weight": torch.arange(12.0).reshape(3, 4)}, path)
    hub.add_repo("others/encoder", {"pytorch_model.bin": path.read_bytes()})
    return make_entry(
        path.read_bytes(),
        name="encoder",
        kind="timm",
        repo_id="others/encoder",
        revision=None,
        filename="pytorch_model.bin",
        format="pytorch",
        sha256=None,
        size=None,
        pinned=False,
    )


def test_an_encoder_that_is_not_pinned_says_so_and_records_its_commit(
    pickled: ManifestEntry, hub: HubServer
) -> None:
    with pytest.warns(GalmorphWarning, match="encoder: no revision is pinned in the manifest"):
        found = locate(pickled)
    assert found.revision == hub.repos["others/encoder"].resolve("main")
    published = hub.repos["others/encoder"].commits[str(found.revision)]["pytorch_model.bin"]
    assert found.sha256 == hashlib.sha256(published).hexdigest()


@pytest.mark.filterwarnings("ignore:encoder. no revision:galmorph.errors.GalmorphWarning")
@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:-1] + b"!"])
def test_an_unpinned_file_in_the_cache_is_held_to_what_the_hub_promised(
    pickled: ManifestEntry, clean_environment: Path, damage: object
) -> None:
    locate(pickled)
    (blob,) = (clean_environment / "hub").glob("models--others--encoder/blobs/*")
    whole = blob.read_bytes()
    blob.write_bytes(damage(whole))  # type: ignore[operator]
    with pytest.warns(GalmorphWarning, match=r"refused: .*is not the published file"):
        assert locate(pickled).source == "hub"
    assert blob.read_bytes() == whole


@pytest.mark.filterwarnings("ignore:encoder. no revision:galmorph.errors.GalmorphWarning")
def test_a_copy_for_another_machine_serves_there(
    pickled: ManifestEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickle_bytes = (tmp_path / "pytorch_model.bin").read_bytes()
    copy = copy_to_folder(locate(pickled), tmp_path / "to")
    assert copy.name == "encoder.bin"
    use_as_another_machine(monkeypatch, tmp_path)
    monkeypatch.setenv("GALMORPH_WEIGHTS_DIR", str(tmp_path / "to"))
    there = locate(pickled)
    assert (there.path, there.source) == (copy, "folder")
    assert there.sha256 == hashlib.sha256(pickle_bytes).hexdigest()
    another = dataclasses.replace(pickled, sha256="a" * 64)
    with (
        pytest.warns(GalmorphWarning, match="is not the published file"),
        pytest.raises(ChecksumError, match="the network is off"),
    ):
        locate(another)
    (tmp_path / "to" / "encoder.bin.sha256").unlink()
    with (
        pytest.warns(GalmorphWarning, match=r"has no encoder\.bin\.sha256 beside it"),
        pytest.raises(ChecksumError, match="the network is off"),
    ):
        locate(pickled)


@pytest.mark.filterwarnings("ignore:encoder. no revision:galmorph.errors.GalmorphWarning")
def test_a_pickle_of_the_manifest_is_known_by_its_path(
    pickled: ManifestEntry, tmp_path: Path
) -> None:
    pinned = dataclasses.replace(
        pickled, sha256=hashlib.sha256((tmp_path / "pytorch_model.bin").read_bytes()).hexdigest()
    )
    copy = copy_to_folder(locate(pickled), tmp_path / "to")
    other = copy.rename(copy.with_name("other.bin"))
    Path(f"{copy}.sha256").unlink()
    found = locate_weights(other, manifest=Manifest((pinned,)))
    assert (found.path, found.source, found.entry) == (other, "path", pinned)
    assert found.sha256 == pinned.sha256
    with pytest.raises(CheckpointError, match=r"other\.bin: is a pickled checkpoint"):
        locate_weights(other, manifest=Manifest((pickled,)))
    copy = other.rename(copy)  # with nothing pinned, the name says what it is
    assert locate_weights(copy, manifest=Manifest((pickled,))).entry == pickled
    another = dataclasses.replace(pickled, sha256="a" * 64)
    with pytest.raises(CheckpointError, match=r"encoder\.bin: is a pickled checkpoint"):
        locate_weights(copy, manifest=Manifest((another,)))


@pytest.mark.filterwarnings("ignore:encoder. no revision:galmorph.errors.GalmorphWarning")
def test_an_unpinned_file_is_verified_by_what_the_hub_promised(
    pickled: ManifestEntry, clean_environment: Path
) -> None:
    locate(pickled)
    assert [error for _, error in verify_local(pickled)] == [None]
    (blob,) = (clean_environment / "hub").glob("models--others--encoder/blobs/*")
    blob.write_bytes(blob.read_bytes()[:-9])
    ((_, error),) = verify_local(pickled)
    assert "is not the published file" in str(error)


# Files that cannot be read


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder in which nobody may look, the superuser included."""
    stat = Path.stat

    def refuse(self: Path, **options: bool) -> os.stat_result:
        if self.is_relative_to(tmp_path / "closed"):
            raise PermissionError(13, "Permission denied", str(self))
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    return tmp_path / "closed"


@pytest.mark.parametrize("variable", ["GALMORPH_WEIGHTS_DIR", "HF_HUB_CACHE"])
def test_a_place_that_cannot_be_read_is_passed_over(
    bundled: ManifestEntry, unreadable: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(unreadable))
    entry = dataclasses.replace(bundled, repo_id="galaxies/demo", revision="1" * 40)
    if variable == "HF_HUB_CACHE":
        assert locate(entry, offline=True).source == "bundled"
    else:
        with pytest.warns(GalmorphWarning, match="demo.safetensors: cannot be read .Permission"):
            assert locate(entry, offline=True).source == "bundled"
    errors = {path.name: error for path, error in verify_local(entry)}
    assert errors.pop("carried.safetensors") is None
    assert "demo.safetensors: cannot be read (Permission" in str(errors["demo.safetensors"])


def test_an_unreadable_cache_is_told_where_nothing_else_is_left(
    published: ManifestEntry, unreadable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(unreadable))
    with (
        pytest.warns(GalmorphWarning, match="refused: .*cannot be read"),
        pytest.raises(ChecksumError, match="cannot be read .*the network is off"),
    ):
        locate(published, offline=True)


def test_a_path_that_cannot_be_read_is_named(clean_environment: Path, unreadable: Path) -> None:
    with pytest.raises(WeightsError, match=r"mine.safetensors: may not be read \(Permission"):
        locate_weights(unreadable / "mine.safetensors")


# A machine without network


def use_as_another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "another"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_a_folder_serves_a_machine_without_network_by_name_and_by_path(
    published: ManifestEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights_bytes: bytes
) -> None:
    folder = tmp_path / "to"
    copy = copy_to_folder(locate(published), folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "demo.safetensors",
        "demo.safetensors.sha256",
    ]
    use_as_another_machine(monkeypatch, tmp_path)
    with pytest.raises(OfflineError, match="galmorph weights download --to DIR"):
        locate(published)
    assert locate_weights(copy).path == copy
    monkeypatch.setenv("GALMORPH_WEIGHTS_DIR", str(folder))
    found = locate(published)
    assert (found.path, found.source) == (copy, "folder")

    copy.write_bytes(weights_bytes[:-1] + b"?")
    with (
        pytest.warns(GalmorphWarning, match="refused"),
        pytest.raises(ChecksumError, match="a fresh one cannot be had"),
    ):
        locate(published)
    with pytest.raises(ChecksumError, match="is not the published file"):
        locate_weights(copy)


def test_sha256sum_can_check_the_folder(published: ManifestEntry, tmp_path: Path) -> None:
    copy = copy_to_folder(locate(published), tmp_path / "to")
    line = (tmp_path / "to" / "demo.safetensors.sha256").read_text()
    assert line == f"{hashlib.sha256(copy.read_bytes()).hexdigest()}  demo.safetensors\n"


def test_a_folder_that_cannot_be_written_to_is_named(
    published: ManifestEntry, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WeightsError, match="file: cannot be written to"):
        copy_to_folder(locate(published), tmp_path / "file")


# Remembered checks


def test_a_file_is_read_once_and_then_remembered(
    bundled: ManifestEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    locate(bundled)

    def fail(*_: object) -> None:
        raise AssertionError("the file was read again")

    monkeypatch.setattr("galmorph.weights.verify.hashlib.file_digest", fail)
    assert locate(bundled).source == "bundled"
    with pytest.raises(AssertionError, match="read again"):
        list(verify_local(bundled))


def test_size_and_time_of_change_make_a_file_new(clean_environment: Path, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = compute_sha256(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert compute_sha256(path) != first
    assert compute_sha256(path) == hashlib.sha256(b"two").hexdigest()


def test_what_is_replaced_after_its_check_is_not_loaded(
    clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import galmorph
    from galmorph import pipeline

    released = locate_module.BUNDLED / "fused_fast.safetensors"
    path = tmp_path / "mine.safetensors"
    path.write_bytes(released.read_bytes())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert galmorph.load_model(path).provenance["sha256"] == sha256
    found = locate_weights(path)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")  # of the same length
    monkeypatch.setattr(pipeline, "locate_weights", lambda name: found)
    pipeline._load_file.cache_clear()
    with pytest.raises(
        ChecksumError, match=r"mine\.safetensors: was replaced after it was checked"
    ):
        galmorph.load_model(path)


def test_verify_says_what_is_wrong_with_a_file(clean_environment: Path, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    with pytest.raises(ChecksumError, match="is cut short: 3 bytes, the published file has 4"):
        verify_file(path, sha256=None, size=4)
    with pytest.raises(ChecksumError, match="is too long: 3 bytes, the published file has 2"):
        verify_file(path, sha256=None, size=2)
    with pytest.raises(ChecksumError, match=r"its sha256 is ba7816bf.*, expected 0{64}"):
        verify_file(path, sha256="0" * 64, size=3)


# Environment


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"HF_HUB_CACHE": "{tmp}/c", "HF_HOME": "{tmp}/h"}, "{tmp}/c"),
        ({"HUGGINGFACE_HUB_CACHE": "{tmp}/c", "HF_HOME": "{tmp}/h"}, "{tmp}/c"),
        ({"HF_HOME": "{tmp}/h"}, "{tmp}/h/hub"),
        ({"HF_HOME": "$HOME/h"}, "{tmp}/h/hub"),
        ({"XDG_CACHE_HOME": "{tmp}/x"}, "{tmp}/x/huggingface/hub"),
        ({}, "{tmp}/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(
    settings: dict[str, str], expected: str, tmp_path: Path, clean_environment: Path
) -> None:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "XDG"))
    }
    environment |= {k: v.replace("{tmp}", str(tmp_path)) for k, v in settings.items()}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    code = (
        "from galmorph.weights.hub import hub_cache; from huggingface_hub import constants;"
        "print(hub_cache()); print(constants.HF_HUB_CACHE)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert out == [expected.replace("{tmp}", str(tmp_path))] * 2


def test_without_a_home_folders_are_in_the_temporary_one(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("HF_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    home = environment.hub_cache().parents[2]
    assert home.parent == tmp_path
    monkeypatch.setenv("GALMORPH_WEIGHTS_DIR", "~/weights")
    assert environment.weights_dir() == home / "weights"


def test_importing_weights_loads_neither_torch_nor_huggingface_hub() -> None:
    code = (
        "import sys, galmorph.weights, galmorph.cli.weights;"
        "heavy = {'torch', 'timm', 'astropy', 'huggingface_hub', 'safetensors', 'numpy', 'PIL'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == "[]"


def test_bundled_weights_are_found_without_huggingface_hub(
    bundled: ManifestEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert locate(bundled).source == "bundled"
