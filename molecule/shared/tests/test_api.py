"""The services answer across hosts, and the database refuses who has no business in it."""

from __future__ import annotations

import json
from typing import Any

from fleet import Fleet


def asked(fleet: Fleet, of: str, url: str) -> Any:
    """JSON that a host gets from another."""
    return json.loads(fleet.host(of).check_output("python3 -c %s %s", FETCH, url))


FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
STATUS = """import sys, urllib.request, urllib.error
try: print(urllib.request.urlopen(sys.argv[1], timeout=10).status)
except urllib.error.HTTPError as error: print(error.code)"""


def test_fincoll_predicts_with_senvec_of_another_host(fleet: Fleet) -> None:
    where = fleet.address(fleet.first("fincoll"))
    answer = asked(fleet, fleet.first("pim"), f"http://{where}:8001/predict/AAPL")
    assert answer["version"] == "v1.1.0"
    assert answer["degraded"] is False, answer


def test_pim_knows_all_of_them(fleet: Fleet) -> None:
    where = fleet.address(fleet.first("pim"))
    health = asked(fleet, fleet.first("fincoll"), f"http://{where}:5000/api/system/health")
    assert health["status"] == "healthy", health
    assert health["services"]["fincoll"]["url"] == f"http://{fleet.address(fleet.first('fincoll'))}:8001"
    assert set(health["services"]["senvec"]["microservices"].values()) == {"healthy"}
    assert health["services"]["finvec"]["status"] in {"idle", "training"}


def test_configuration_needs_a_token(fleet: Fleet) -> None:
    where = fleet.address(fleet.first("pim"))
    said = fleet.host(fleet.first("fincoll")).check_output(
        "python3 -c %s %s", STATUS, f"http://{where}:5000/api/config/fincoll/v1.1.0"
    )
    assert said == "401"


def test_pims_login_can_neither_define_nor_destroy(fleet: Fleet) -> None:
    host = fleet.host(fleet.first("pim"))
    python = "/opt/caelum/pim/slots/pim-web@stable/bin/python"
    for statement in (
        "DROP TABLE deployment_history",
        "CREATE TABLE public.mine (id int)",
        "TRUNCATE audit_log",
        "DELETE FROM audit_log",
        "SELECT rolpassword FROM pg_authid",
        "CREATE ROLE mine",
    ):
        said = host.run("%s -c %s %s", python, REFUSED, statement)
        assert said.stdout.strip() == "InsufficientPrivilege", (statement, said.stdout, said.stderr)


def test_the_database_takes_no_login_without_tls(fleet: Fleet) -> None:
    host = fleet.host(fleet.first("pim"))
    said = host.run("%s -c %s", "/opt/caelum/pim/slots/pim-web@stable/bin/python", PLAIN)
    assert "no encryption" in said.stdout, (said.stdout, said.stderr)


_LOGIN = """import glob, json, sys
import psycopg
login = json.load(open(glob.glob("/etc/caelum/credentials/pim-w*/pim_database_credentials.json")[0]))
def connect(**more):
    return psycopg.connect(host=login["host"], port=login["port"], dbname=login["database"], user=login["user"],
                           password=login["password"], **more)
"""
REFUSED = (
    _LOGIN
    + """
with connect(sslmode=login.get("sslmode", "prefer")) as connection:
    try:
        connection.execute(sys.argv[1])
        print("done")
    except psycopg.Error as error:
        print(type(error).__name__)
"""
)
PLAIN = (
    _LOGIN
    + """
try:
    connect(sslmode="disable")
    print("let in")
except psycopg.OperationalError as error:
    print(error)
"""
)
