"""Tables to TOPCAT and Aladin, and rows that are highlighted there, by SAMP on this machine."""

import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from galmorph.errors import OutputError

HOST = "127.0.0.1"
KINDS = {".fits": "table.load.fits", ".vot": "table.load.votable"}  # messages by suffix
SELECT, HIGHLIGHT = "table.select.rowList", "table.highlight.row"


def import_samp() -> Any:
    """The library: pyvo's where it is there, since astropy 8 calls its own outdated."""
    try:
        return import_module("pyvo.samp")
    except ImportError:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "astropy.samp was deprecated")
            return import_module("astropy.samp")


class Samp:
    """A connection to the hub on this machine; `hear` is told table and rows that others select."""

    def __init__(self, hear: Callable[[str, list[int]], None] | None = None) -> None:
        samp = import_samp()
        self._hear = hear
        # One that cannot be called would stay in the hub: the library does not let it leave.
        self._client = samp.SAMPIntegratedClient(metadata={"samp.name": "galmorph"}, addr=HOST)
        try:
            self._client.connect()
        except (samp.SAMPHubError, OSError) as error:
            raise OutputError(
                f"no SAMP hub answers on this machine ({error}): start TOPCAT or Aladin first"
            ) from error
        for kind in (SELECT, HIGHLIGHT) if hear else ():
            self._client.bind_receive_message(kind, self._receive)

    def send_table(self, path: Path, name: str) -> int:
        """Have all others load a file; the number of those who can."""
        kind = KINDS[path.suffix.lower()]
        given = {"url": path.absolute().as_uri(), "table-id": name, "name": name}
        return len(self._notify(kind, given))

    def select(self, name: str, rows: Sequence[int]) -> None:
        """Select rows of a table that was sent."""
        self._notify(SELECT, {"table-id": name, "row-list": [str(row) for row in rows]})

    def highlight(self, name: str, row: int) -> None:
        """Point at one row."""
        self._notify(HIGHLIGHT, {"table-id": name, "row": str(row)})

    def _notify(self, kind: str, given: dict[str, Any]) -> Any:
        try:
            return self._client.notify_all({"samp.mtype": kind, "samp.params": given})
        except (import_samp().SAMPProxyError, OSError) as error:
            raise OutputError(f"the SAMP hub does not answer any more: {error}") from error

    def _receive(
        self, key: str, sender: str, message: str | None, kind: str, params: Any, extra: Any
    ) -> None:
        rows = params.get("row-list", [params["row"]] if "row" in params else [])
        if self._hear is not None and all(str(row).isdecimal() for row in rows):
            self._hear(str(params.get("table-id", "")), [int(row) for row in rows])
        if message is not None:  # an answer is waited for
            self._client.reply(message, {"samp.status": "samp.ok", "samp.result": {}})

    def close(self) -> None:
        """Leave the hub."""
        if self._client.is_connected:
            self._client.disconnect()
