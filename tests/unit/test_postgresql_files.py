"""The files of a Debian cluster, as text: who may log in, what is refused before a file lands."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.postgresql import cluster, tls
from ansible.module_utils.caelum.postgresql.wanted import Wanted, access, drop_in, settings

WANTED = Wanted(
    15, "main", 5432, ("10.255.255.254",), ("samenet", "10.32.3.27"), "pim_database", ("pim_owner", "pim_user"),
    "postgres", "secret", {"shared_buffers": "32MB"},
)  # fmt: skip
NOTHING = cluster.Have(True, True, True, True, None, None, (), "", 0.0)


def rules(wanted: Wanted) -> list[list[str]]:
    return [line.split() for line in access(wanted).splitlines() if not line.startswith("#")]


def test_nobody_enters_over_the_network_without_tls_and_scram() -> None:
    local, *network = rules(WANTED)
    assert local == ["local", "all", "postgres", "peer"]
    assert network
    assert all((kind, method) == ("hostssl", "scram-sha-256") for kind, _, _, _, method in network)
    assert {who for _, _, who, _, _ in network} == {'"postgres"', '"pim_owner","pim_user"'}
    assert {where for _, _, _, where, _ in network} == {"127.0.0.1/32", "::1/128", "samenet", "10.32.3.27/32"}
    assert all(what == '"pim_database"' for _, what, who, _, _ in network if "pim" in who)


@pytest.mark.parametrize("network", ["10.32.3.999", "all", "0.0.0.0/0 trust", "somewhere", "10.32.3.0/24\nhost all"])
def test_what_is_no_network_never_reaches_the_file(network: str) -> None:
    with pytest.raises(Refused, match="is no network"):
        access(replace(WANTED, allowed=(network,)))


def test_a_name_cannot_bring_a_rule_of_its_own() -> None:
    for wrong in ('pim" all all trust', "pim\nhost", ""):
        with pytest.raises(Refused, match="cannot be a role's or a database's name"):
            access(replace(WANTED, database=wrong))


def test_a_setting_is_quoted_and_wins_over_the_modules_own() -> None:
    text = settings(replace(WANTED, settings={"log_line_prefix": "it's \\m", "ssl_min_protocol_version": "TLSv1.3"}))
    assert "log_line_prefix = 'it''s \\\\m'\n" in text
    assert "ssl_min_protocol_version = 'TLSv1.3'\n" in text
    assert "TLSv1.2" not in text
    with pytest.raises(Refused, match="line break"):
        settings(replace(WANTED, settings={"a": "1'\nssl = off"}))
    with pytest.raises(Refused, match="no name of a PostgreSQL setting"):
        settings(replace(WANTED, settings={"a = 1 #": "1"}))


def test_the_unit_waits_for_addresses_and_not_for_names() -> None:
    assert 'grep -qwF "10.255.255.254"' in drop_in(WANTED)
    assert "ExecStartPre" not in drop_in(replace(WANTED, addresses=("db.example.org",)))


def test_a_missing_package_is_the_first_thing_told() -> None:
    have = replace(NOTHING, is_installed=False, has_config=False, has_data=False)
    plan = cluster.plan(WANTED, have)
    assert (plan.package, plan.create, plan.before[0]) == ("postgresql-15", True, "package postgresql-15: missing")


def test_half_a_cluster_is_refused() -> None:
    with pytest.raises(Refused, match="pg_dropcluster 15 main"):
        cluster.plan(WANTED, replace(NOTHING, has_data=False))


def test_no_secret_is_told(tmp_path: Path) -> None:
    with tls.own_pair("10.255.255.254") as (certificate, key):
        found = cluster.File(tmp_path / "key", "root", 0o600, key, secret=True)
        assert found.told(key) == [f"{tmp_path / 'key'}: (not shown)"]
        assert "secret" not in repr(WANTED)
        assert key not in repr(replace(WANTED, certificate=certificate, key=key))


def test_a_pair_must_be_one() -> None:
    with tls.own_pair("10.0.0.1") as (certificate, key), tls.own_pair("10.0.0.1") as (_, another):
        tls.check_pair(certificate, key)
        with pytest.raises(Refused, match="are no pair"):
            tls.check_pair(certificate, another)
        with pytest.raises(Refused, match="come together"):
            tls.check_pair(certificate, "")
        with pytest.raises(Refused, match="reading the server's certificate"):
            tls.check_pair("no certificate", key)


def test_an_own_certificate_is_made_anew_for_another_address_and_before_it_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, key = tmp_path / "crt", tmp_path / "key"
    assert tls.why_unfit(public, key, "10.0.0.1") == "none"
    with tls.own_pair("10.0.0.1") as (certificate, secret):
        public.write_text(certificate)
        key.touch(0o600)
        key.write_text(secret)
    monkeypatch.setattr(tls, "USER", key.owner())
    assert tls.why_unfit(public, key, "10.0.0.1") == ""
    assert tls.why_unfit(public, key, "10.0.0.2") == "for another address"
    short: list[str | Path] = ["openssl", "req", "-x509", "-key", key, "-out", public, "-days", "20", "-subj", "/CN=x"]
    subprocess.run([*short, "-addext", "subjectAltName=IP:10.0.0.1"], check=True, capture_output=True)
    assert tls.why_unfit(public, key, "10.0.0.1") == "expires"
    key.chmod(0o644)
    assert tls.why_unfit(public, key, "10.0.0.1") == "its key is readable by others"
