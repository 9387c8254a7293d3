"""What a result says: all that made it, and nothing of the machine that it was made on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference_model import make_model
from synthetic import make_flux, write_fits

from galmorph.inference import engine
from galmorph.model import write_heads
from galmorph.tables.formats import list_suffixes
from galmorph.weights.manifest import load_manifest

SECRETS = {
    "USER": "zz-user",
    "LOGNAME": "zz-user",
    "HOSTNAME": "zz-host",
    "HF_TOKEN": "hf_zz-token",
    "HF_ENDPOINT": "http://zz-mirror:zz-password@127.0.0.1:9",
    "SOME_VARIABLE": "zz-value",
}


def interrupt_after(monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    """Ctrl-C once so many blocks are done."""
    original = engine.run_inference

    def run_inference(*arguments, **settings):
        for done, block in enumerate(original(*arguments, **settings)):
            if done == blocks:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr("galmorph.pipeline.run_inference", run_inference)


@pytest.fixture
def home(tmp_path, cutouts, model_file, monkeypatch):
    """A home folder that nothing may name, with the cutouts and a model in the working folder."""
    home = tmp_path / "zz-home"
    home.mkdir()
    cutouts.rename(home / "cutouts")
    (home / "cutouts" / "odd.fits").write_bytes(b"SIMPLE  = nonsense")
    shutil.copy(model_file, home / "mine.safetensors")
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("platform.node", lambda: "zz-host")
    monkeypatch.setattr("socket.gethostname", lambda: "zz-host")
    monkeypatch.setattr("getpass.getuser", lambda: "zz-user")
    return home


def unpack(path: Path) -> bytes:
    """All that stands in a file, without compression."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        pq = pytest.importorskip("pyarrow.parquet")
        table = pq.read_table(path)
        data += repr((table.to_pylist(), table.schema.metadata)).encode()
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            data += repr({name: arrays[name].tolist() for name in arrays}).encode()
    return data


@pytest.mark.parametrize("suffix", list_suffixes("classify"))
def test_a_run_tells_nothing_of_the_machine(run, home, monkeypatch, suffix):
    here = set(home.rglob("*"))
    arguments = ("classify", "cutouts", "--model", "mine.safetensors", "--head", "test")
    arguments += ("-o", f"out{suffix}", "--batch-size", 1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        said = run(*arguments).output
    written = b"".join(unpack(path) for path in set(home.rglob("*")) - here if path.is_file())
    assert b"cutouts/" in written  # a partial result
    result = run(*arguments, "--resume")
    assert result.exit_code in (0, 3), result.output
    written += unpack(home / f"out{suffix}") + (said + result.output).encode()
    assert b"odd.fits" in written
    for secret in (
        b"zz-",
        os.uname().nodename.encode(),
        str(Path(engine.__file__).parent).encode(),
    ):
        place = written.find(secret)
        assert place < 0, written[max(0, place - 200) : place + 200]


@pytest.mark.filterwarnings("always:refused:galmorph.errors.GalmorphWarning")
def test_errors_about_weights_tell_nothing_of_the_machine(run, home, monkeypatch):
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    entry = load_manifest().get("zoobot_convnext_small")
    repository = f"models--{entry.repo_id}".replace("/", "--")
    cached = Path(".cache/huggingface/hub") / repository / "snapshots" / str(entry.revision)
    cached.mkdir(parents=True)
    (cached / entry.filename).write_bytes(b"damaged")
    for offline, said in [("0", "cannot reach http://127.0.0.1:9"), ("1", "the network is off")]:
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        result = run("classify", "cutouts", "--model", entry.name, "-o", "out.csv")
        assert said in result.stderr
        assert "refused: ~/.cache/huggingface" in result.stderr
        assert "zz-" not in result.output


@pytest.mark.parametrize("what", ["model.onnx", "model.safetensors", "head.safetensors"])
def test_resume_refuses_weights_that_were_replaced(run, cutouts, tmp_path, monkeypatch, what):
    file = tmp_path / what
    write(file, 0)
    ours = ("--model", file, "--head", "test")
    if what.startswith("head"):
        ours = ("--model", tmp_path / "model.safetensors", "--head", file)
        write(tmp_path / "model.safetensors", 0)
    out = tmp_path / "t.fits"
    arguments = ("classify", cutouts, *ours, "-o", out, "--batch-size", 1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        assert run(*arguments).exit_code == 130
    write(file, 1)
    result = run(*arguments, "--resume")
    assert result.exit_code == 2, result.output
    assert ("head_sha256" if what.startswith("head") else "model_sha256") in result.stderr
    write(file, 0)
    assert run(*arguments, "--resume").exit_code == 0


def write(path: Path, seed: int) -> None:
    """The model, or its head alone; every seed has other numbers under the same names."""
    from galmorph.model import write_model

    model = make_model(seed=0)
    head = model.heads["test"]
    changed = replace(model, heads={"test": replace(head, bias=head.bias + np.float32(seed))})
    if path.stem == "head":
        write_heads(path, changed.heads, model=model.name)
    elif path.suffix == ".onnx":
        pytest.importorskip("onnx")
        from galmorph.inference.onnx_file import write_onnx

        write_onnx(path, changed)
    else:
        write_model(path, changed)


LISTENER = """
import os, sys
def listen(event, given):
    if event == "socket.getaddrinfo" or (event == "socket.connect" and type(given[1]) is tuple):
        write(f"{event} {given}")
def write(said):
    with open(os.environ["HEARD"], "a") as file:
        print(os.getpid(), said, file=file)
sys.addaudithook(listen)
write("listens")
"""


def test_no_process_of_a_run_asks_the_network(cutouts, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(LISTENER)
    for name in ("one", "two"):
        write_fits(cutouts / f"{name}.fits", make_flux(side=60), BANDS="grz")
    paths = os.pathsep.join([str(tmp_path / "site"), str(Path(__file__).resolve().parents[2])])
    environment = {**os.environ, "PYTHONPATH": paths, "HEARD": str(tmp_path / "heard")}
    words = ["classify", cutouts, "-o", tmp_path / "t.csv"]
    command = [sys.executable, "-m", "galmorph", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    heard = (tmp_path / "heard").read_text().splitlines()
    assert len(heard) >= 2 and {line.partition(" ")[2] for line in heard} == {"listens"}
