"""What a fleet host must offer is asked of real sockets, files and clocks, and each lack is one line."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.preflight import clock, fleet
from ansible.module_utils.caelum.release.target import this_python

from support.processes import free_port


def network(**more: Any) -> None:
    fleet._network({"database": None, "peers": [], **more})


def peer(port: int) -> dict[str, Any]:
    return {"name": "senvec on a", "address": "127.0.0.1", "port": port}


def test_a_host_on_which_nothing_listens_yet_is_reached_all_the_same() -> None:
    network(peers=[peer(free_port())])


def test_a_host_that_drops_what_it_gets_is_told_with_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "PEER_S", 0.3)
    with socket.socket() as full:  # a queue of no length that nobody empties: the next one waits for ever
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with pytest.raises(Refused, match=f"senvec on a at 127.0.0.1:{port} cannot be reached from this host"):
            network(peers=[peer(port)])
        for filler in fillers:
            filler.close()


def test_a_database_address_behind_which_something_else_answers_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(8)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(Refused, match="does not speak PostgreSQL's protocol"):
            network(database={"address": "127.0.0.1", "port": port, "sslmode": "prefer"})
        thread.join()


def test_a_database_without_tls_is_refused_where_tls_is_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def decline() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.recv(8)
                    connection.sendall(b"N")

        thread = threading.Thread(target=decline)
        thread.start()
        network(database={"address": "127.0.0.1", "port": port, "sslmode": "prefer"})
        with pytest.raises(Refused, match="offers no TLS, which sslmode require asks for"):
            network(database={"address": "127.0.0.1", "port": port, "sslmode": "require"})
        thread.join()


def test_a_database_that_is_away_is_named_before_other_lacks() -> None:
    port = free_port()
    with pytest.raises(Refused, match=f"PostgreSQL at 127.0.0.1:{port} cannot be reached"):
        network(database={"address": "127.0.0.1", "port": port, "sslmode": "require"}, peers=[peer(free_port())])


def test_an_address_of_another_host_is_refused() -> None:
    fleet._address("127.0.0.1")
    with pytest.raises(Refused, match=r"192\.0\.2\.1 is not an address of this host"):
        fleet._address("192.0.2.1")


def test_a_release_for_another_python_is_refused() -> None:
    here = this_python()
    fleet._python(here.abi, here.platform)
    with pytest.raises(Refused, match="was built for cp399 on"):
        fleet._python("cp399", here.platform)


def test_a_folder_on_the_way_to_the_share_that_users_cannot_enter_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "share").mkdir(parents=True)
    closed.chmod(0o700)
    first = next(folder for folder in reversed((closed / "share").parents) if not folder.stat().st_mode & 1)
    with pytest.raises(Refused, match=f"cannot enter {first} on the way to the share"):
        fleet._share(closed / "share", "")


@pytest.mark.parametrize(("read", "off"), [(100.5, 0.0), (96.0, -4.0), (105.0, 4.0), (100.0, 0.0), (101.0, 0.0)])
def test_a_clock_is_wrong_only_by_what_the_duration_of_the_call_cannot_explain(read: float, off: float) -> None:
    assert clock.off(read, 100.0, 101.0) == off


def test_the_line_about_a_clock_names_the_remedy_for_wsl() -> None:
    line = clock.line(-7.25, 2.0)
    assert line.startswith("the clock of this host is 7.2 s behind the controller's, and 2 s are allowed")
    assert "hwclock -s" in line
