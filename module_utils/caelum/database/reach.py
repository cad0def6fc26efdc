"""Whether a PostgreSQL server answers at an address, asked without a driver: hosts have Python's own library alone.

An SSLRequest is the shortest question that only PostgreSQL answers with one letter (protocol 3.0, "SSL Session
Encryption"): S for a server that would go on in TLS, N for one that would not. No login, nothing in its log but a
connection.
"""

from __future__ import annotations

import socket
import struct

SSL_REQUEST = struct.pack("!II", 8, 80877103)
TLS, PLAIN = b"S", b"N"
NEEDS_TLS = frozenset({"require", "verify-ca", "verify-full"})


def answers(host: str, port: int, timeout: float = 5.0, sslmode: str = "prefer") -> str:
    """Empty where PostgreSQL answers at `host`:`port` within `timeout` seconds, else one line that says what is wrong.

    A server that speaks no TLS is refused where `sslmode` asks for it.
    """
    where = f"PostgreSQL at {host}:{port}"
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(SSL_REQUEST)
            said = connection.recv(1)
    except socket.gaierror as error:
        return f"{where} cannot be found from here ({error.strerror}); correct caelum_database_address in the inventory"
    except TimeoutError:
        return (
            f"{where} does not answer from here within {timeout:g} s; "
            "open the way there (route, firewall), or correct caelum_database_address in the inventory"
        )
    except OSError as error:
        return (
            f"{where} cannot be reached from here ({error.strerror or error}); "
            "start it, let it listen there, or correct caelum_database_address and _port in the inventory"
        )
    if said not in {TLS, PLAIN}:
        return f"{where} is something else: it does not speak PostgreSQL's protocol; correct caelum_database_port"
    if said == PLAIN and sslmode in NEEDS_TLS:
        return f"{where} offers no TLS, which sslmode {sslmode} asks for; set `ssl = on` there with a certificate"
    return ""
