"""Tables and rows by SAMP, with astropy's hub on this machine."""

from __future__ import annotations

import queue

import numpy as np
import pytest
from made_run import make_run

from galmorph.errors import GalmorphError
from galmorph.explorer.galaxies import open_galaxies
from galmorph.explorer.selection import Sent
from galmorph.samp import Samp, import_samp

samp = import_samp()
PATIENCE = 20


@pytest.fixture
def hub(tmp_path, monkeypatch):
    lock = tmp_path / "samp.lock"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{lock.as_uri()}")
    monkeypatch.setattr(samp.conf, "use_internet", False)
    server = samp.SAMPHubServer(
        lockfile=str(lock), mode="multiple", web_profile=False, addr="127.0.0.1"
    )
    server.start()
    lock.write_text(
        f"samp.secret={server.params['samp.secret']}\n"
        f"samp.hub.xmlrpc.url={server.params['samp.hub.xmlrpc.url']}\n"
        f"samp.profile.version={server.params['samp.profile.version']}\n"
    )
    yield server
    server.stop()


@pytest.fixture
def other(hub):
    """A program as TOPCAT is one: what it hears, by kind of message."""
    client, heard = samp.SAMPIntegratedClient(addr="127.0.0.1"), queue.Queue()
    client.connect()
    for kind in ("table.load.votable", "table.load.fits", "table.select.rowList",
                 "table.highlight.row"):  # fmt: skip
        client.bind_receive_notification(
            kind, lambda key, sender, kind, params, extra: heard.put((kind, params))
        )
    client.heard = heard
    yield client
    client.disconnect()


def test_what_is_selected_there_is_told_here_and_the_other_way(other, tmp_path):
    from astropy.table import Table

    galaxies, told = open_galaxies(make_run(tmp_path)), queue.Queue()
    sent = Sent(told.put)
    assert sent.send(galaxies, np.array([7, 3, 70])) >= 1
    kind, params = other.heard.get(timeout=PATIENCE)
    assert kind == "table.load.votable"
    assert list(Table.read(params["url"].removeprefix("file://"))["object_id"]) == [
        "g007", "g003", "g070",
    ]  # fmt: skip
    name = params["table-id"]
    sent.select([70, 1])
    assert other.heard.get(timeout=PATIENCE)[1] == {"table-id": name, "row-list": ["2"]}
    sent.highlight(3)
    assert other.heard.get(timeout=PATIENCE)[1] == {"table-id": name, "row": "1"}
    other.notify_all({"samp.mtype": "table.select.rowList",
                      "samp.params": {"table-id": "another", "row-list": ["0"]}})  # fmt: skip
    other.notify_all({"samp.mtype": "table.select.rowList",
                      "samp.params": {"table-id": name, "row-list": ["0", "2", "9"]}})  # fmt: skip
    assert told.get(timeout=PATIENCE) == [7, 70]
    answer = other.call_and_wait(
        sent._samp._client.get_public_id(),
        {"samp.mtype": "table.highlight.row", "samp.params": {"table-id": name, "row": "1"}},
        timeout=str(PATIENCE),
    )
    assert answer["samp.status"] == "samp.ok"
    assert told.get(timeout=PATIENCE) == [3]
    sent.close()


def test_who_only_sends_leaves_the_hub(other, tmp_path):
    there = other.get_registered_clients()
    sender = Samp()
    assert sender.send_table(tmp_path / "run.fits", "run") == 1
    assert len(other.get_registered_clients()) == len(there) + 1
    sender.close()
    assert other.get_registered_clients() == there


def test_without_a_hub_it_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'none').as_uri()}")
    with pytest.raises(GalmorphError, match="no SAMP hub answers on this machine.*start TOPCAT"):
        Samp()
