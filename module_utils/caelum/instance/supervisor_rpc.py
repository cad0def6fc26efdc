"""A client of supervisord's XML-RPC interface over its unix socket."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any

from ..errors import Refused
from .accounts import owner_name

TIMEOUT_S = 5.0
NAME_UNKNOWN = 10
ALREADY_STARTED = 60
ALREADY_ADDED = 90

Call = tuple[Any, ...]
"""A method and its arguments."""


class Fault(Exception):
    """supervisord said no; `code` is one of supervisor.xmlrpc.Faults."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """Calls of one supervisord; several go in one request."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def answers(self) -> bool:
        """Whether a supervisord listens on the socket; Refused when it belongs to another user."""
        connection = _Connection(self._path)
        try:
            connection.connect()
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except PermissionError:
            raise Refused(
                f"{self._path} belongs to {owner_name(self._path)}; run as that user, "
                "or choose another prefix with -e caelum_prefix="
            ) from None
        finally:
            connection.close()
        return True

    def call(self, *calls: Call) -> list[Any]:
        """Results of the calls, in order; a call that supervisord refused gives its Fault."""
        batch = [{"methodName": method, "params": list(params)} for method, *params in calls]
        body = xmlrpc.client.dumps((batch,), "system.multicall").encode()
        connection = _Connection(self._path)
        try:
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            answer = connection.getresponse().read()
        except TimeoutError:
            raise Refused(
                f"supervisord at {self._path} did not answer within {TIMEOUT_S:g} s; see its log supervisord.log, "
                "and end it with `kill -9` if it hangs: the next run starts it again"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"supervisord at {self._path} ended the talk: {error}; run this again") from None
        finally:
            connection.close()
        results: Any = xmlrpc.client.loads(answer)[0][0]
        return [_fault_or(result) for result in results]

    def insist(self, *calls: Call, ignore: frozenset[int] = frozenset()) -> list[Any]:
        """As `call`, but a Fault whose code is not in `ignore` is raised as Refused."""
        results = self.call(*calls)
        for (method, *params), result in zip(calls, results, strict=True):
            if isinstance(result, Fault) and result.code not in ignore:
                what = " ".join(map(str, (method.partition(".")[2], *params)))
                raise Refused(f"supervisord at {self._path} refused {what}: {result}; see its log supervisord.log")
        return results


def _fault_or(result: Any) -> Any:
    is_fault = isinstance(result, dict) and "faultCode" in result
    return Fault(result["faultCode"], result["faultString"]) if is_fault else result
