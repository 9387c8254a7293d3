"""The explorer of a run: the same object on a page of its own and in a notebook."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galmorph.errors import OptionError
from galmorph.explorer.browsing import Browsing
from galmorph.explorer.galaxies import Galaxies, open_galaxies
from galmorph.explorer.labels import Labels
from galmorph.explorer.pictures import Thumbnails
from galmorph.images.library import import_extra

if TYPE_CHECKING:
    from galmorph.explorer.view import View

HOST = "127.0.0.1"
NAMES = ("yes", "no")  # labels of the first two keys, until others are given


class Explorer:
    """A run to look at; notebooks show it, `show` opens it in the browser.

    Attributes
    ----------
    galaxies : Galaxies
        Columns of the run, with what was learnt.
    labels : Labels
        What was labelled, as it is on disk.
    """

    def __init__(
        self, galaxies: Galaxies, labels: Labels, pictures: Thumbnails, names: list[str]
    ) -> None:
        self.galaxies, self.labels = galaxies, labels
        self._pictures, self._names = pictures, names

    def make_view(self, *, alone: bool = False) -> View:
        """One look at it, ``alone`` on a page; all share the labels."""
        from galmorph.explorer.view import View

        return View(Browsing(self.galaxies, self.labels), self._pictures, self._names, alone=alone)

    def make_server(self, port: int = 0) -> tuple[Any, str]:
        """A server that waits to be started, and the address with the token that it asks for."""
        import panel as pn
        from bokeh.server.util import bind_sockets

        try:
            sockets, port = bind_sockets(HOST, port)
        except OSError as error:
            raise OptionError(f"--port {port}: {error.strerror}; 0 takes a free one") from error
        for socket in sockets:  # the server takes a number, and binds it itself
            socket.close()
        token = secrets.token_urlsafe(24)
        server = pn.io.server.get_server(
            {token: lambda: self.make_view(alone=True).layout},
            port=port,
            address=HOST,
            websocket_origin=[f"{HOST}:{port}", f"localhost:{port}"],
            use_index=False,
            title={token: f"{Path(self.galaxies.name).name} · galmorph"},
        )
        return server, f"http://{HOST}:{port}/{token}"

    def show(self, port: int = 0, *, browser: bool = True) -> None:
        """Serve the page on this machine alone until it is interrupted."""
        server, address = self.make_server(port)
        print(f"{address}\nStop with Ctrl-C.", file=sys.stderr)
        server.start()
        if browser:
            server.io_loop.add_callback(server.show, f"/{address.rpartition('/')[2]}")
        try:
            server.io_loop.start()
        finally:
            server.stop()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self.make_view().layout._repr_mimebundle_(include, exclude)


def explore(
    table: Any, *, labels: str | Path = "labels.csv", root: str | Path | None = None
) -> Explorer:
    """Look at a run: map, gallery, neighbours, labels, and a head learnt from them.

    Parameters
    ----------
    table : path-like or astropy.table.Table
        What ``galmorph classify --with-embedding`` or `classify` with ``with_embedding=True`` gave.
    labels : path-like
        CSV file that labels are kept in, and read from where it is there.
    root : path-like, optional
        Folder in which the images are now, where they have moved.

    Returns
    -------
    Explorer
        The last line of a notebook cell shows it; ``show()`` opens a page on this machine.

    Raises
    ------
    MissingExtraError
        Panel is not installed.
    CatalogueError
        The table is no result of galmorph, or the labels are none.
    """
    pn = import_extra("panel", "explore", "to explore a run")
    if "ipykernel" in sys.modules:
        pn.extension(inline=True)  # else its scripts come from elsewhere
    galaxies = open_galaxies(table)
    columns = galaxies.columns
    kept = Labels(labels, columns["object_id"], columns["path"])
    given = list(dict.fromkeys(kept.rows.values()))
    names = given + [name for name in NAMES if len(given) < 2 and name not in given]
    pictures = Thumbnails(galaxies, Path(root) if root is not None else None)
    return Explorer(galaxies, kept, pictures, names)
