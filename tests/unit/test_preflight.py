"""What cannot work is refused in one line before anything is built."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ansible.module_utils.caelum.preflight.asked import Asked, declared
from ansible.module_utils.caelum.preflight.command_line import build_refusal, refusal
from ansible.module_utils.caelum.preflight.inventory import SECRETS, placeholders

FINE = Asked(
    version="v1.1.0", inventory="local", prefix="/opt/caelum-1234abcd",
    versions=dict.fromkeys(("senvec", "finvec", "fincoll", "pim"), "v1.1.0"),
    known={"caelum_prefix": "path", "caelum_port_base": "int", "fincoll_port": "int", "fincoll_slots": "list"},
)  # fmt: skip


FULL = dict.fromkeys(("database", "senvec", "finvec", "fincoll", "pim"), 1)


def changed(**changes: Any) -> Asked:
    """A run like FINE but for `changes`; the services have its version, as the roles' defaults give it to them."""
    if "version" in changes:
        changes.setdefault("versions", dict.fromkeys(FINE.versions, changes["version"]))
    return dataclasses.replace(FINE, **changes)


def asked(**changes: Any) -> str:
    return refusal(changed(**changes))


def test_nothing_speaks_against_a_plain_run() -> None:
    assert refusal(FINE) == ""
    given = {"version": "v1.1.0", "service": "fincoll", "fincoll_port": "8001", "ansible_user": "a", "my_own": "x"}
    assert asked(service="fincoll", given=given) == ""
    assert asked(given={"caelum_port_base": 9000}) == ""
    assert asked(runtime="systemd", prefix="/", groups=FULL, slots=["candidate", "stable"], secrets=list(SECRETS)) == ""


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"version": ""}, "no version given; name one"),
        ({"version": "latest"}, "'latest' is not a version"),
        ({"versions": {"pim": "1.2"}}, "pim_version: '1.2' is not a version"),
        ({"pinned": {"news": "new"}}, "senvec_versions.news: 'new' is not a version"),
        ({"service": "fincol"}, "there is no service 'fincol'; known: senvec, finvec, fincoll, pim"),
        ({"component": "newz"}, "there is no component 'newz'; known: replay, sentimentrader"),
        ({"component": "news", "service": "fincoll"}, "component news is of service senvec, not of fincoll"),
        ({"component": "news", "pinned": {"news": "v1.0.3"}}, "news is held at v1.0.3 by senvec_versions, v1.1.0 was"),
        (
            {"runtime": "docker", "inventory": "hybrid"},
            "runtime docker of inventory hybrid is to come; there are native",
        ),
        ({"runtime": "pm3"}, "runtime pm3 of inventory local is not known; there are native and systemd today"),
        ({"runtime": "systemd", "prefix": "/opt/c"}, "systemd reads units of the whole host alone; leave it out"),
        ({"prefix": "/"}, "caelum_prefix is /, which runtime native would fill"),
        ({"groups": {**FULL, "fincoll": 0}}, "group fincoll of inventory local has no host"),
        ({"groups": {"database": 1}}, "group senvec of inventory local has no host"),
        (
            {"slots": ["candidate"], "groups": FULL},
            "runs the stable slot, which PIM asks; add `stable` to fincoll_slots",
        ),
        ({"secrets": ["vault_tokens"]}, "has no vault_postgresql_admin_password, vault_pim_owner_password"),
        ({"secrets": []}, "copy inventory/local/group_vars/all/vault.yml.example to vault.yml beside it"),
        (
            {"runtime": "systemd", "prefix": "/", "placeholders": ["vault_tokens"], "vault": "/i/vault.yml"},
            "vault_tokens of inventory local is still 'change-me', as in the example; put real values in: `",
        ),
        ({"given": {"fincol_port": 1}}, "there is no variable fincol_port; did you mean fincoll_port?"),
        ({"given": {"caelum_portbase": 1}}, "there is no variable caelum_portbase; did you mean caelum_port_base?"),
        ({"given": {"verison": "v1"}}, "there is no variable verison; did you mean version?"),
        ({"given": {"compnent": "news"}}, "there is no variable compnent; did you mean component?"),
        ({"given": {"fincoll_gpu_memory": 1}}, "there is no variable fincoll_gpu_memory; docs/variables.md lists all"),
        ({"given": {"fincoll_port": "80a"}}, "fincoll_port is '80a', and takes a whole number"),
        ({"given": {"fincoll_port": ""}}, "fincoll_port is '', and takes a whole number"),
        ({"prefix": "caelum"}, "caelum_prefix 'caelum' does not begin with a slash"),
        ({"prefix": "/" + "x" * 90}, "has 111 bytes, and 99 is the limit; choose a shorter folder"),
    ],
)
def test_each_fault_is_named_with_its_remedy(changes: dict[str, Any], line: str) -> None:
    assert line in asked(**changes)
    assert "\n" not in asked(**changes)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"version": "v1.2.0-beta"}, "senvec_version: v1.2.0-beta is a beta, which runs in FinColl's candidate slot"),
        ({"version": "v1.2.0-beta", "service": "senvec"}, "deploy v1.2.0, or add `-e service=fincoll`"),
        ({"version": "v1.2.0-beta.2", "component": "pim-web"}, "pim_version: v1.2.0-beta.2 is a beta"),
        ({"pinned": {"news": "v1.0.3-beta"}}, "senvec_versions.news: v1.0.3-beta is a beta"),
        ({"versions": {"fincoll": "v1.2.0-beta"}}, "fincoll_version: v1.2.0-beta is a beta"),
        ({"version": "v1.2.0-rc.1"}, "begins with 10% of the traffic, and inventory local has no edge"),
        ({"version": "v1.2.0-rc.1", "service": "fincoll"}, "deploy v1.2.0, or try a beta in FinColl's candidate slot"),
    ],
)
def test_a_version_before_its_release_goes_only_where_it_belongs(changes: dict[str, Any], line: str) -> None:
    assert line in asked(**changes)


@pytest.mark.parametrize("scope", [{"service": "fincoll"}, {"component": "fincoll"}])
def test_a_beta_of_fincoll_alone_is_let_through(scope: dict[str, str]) -> None:
    assert asked(version="v1.2.0-beta", **scope) == ""


def test_what_the_run_is_not_about_does_not_keep_it_back() -> None:
    assert asked(service="pim", versions={"pim": "v1.1.0", "fincoll": "v1.2.0-beta"}, pinned={"news": "v1-beta"}) == ""


def test_a_build_asks_neither_for_a_runtime_nor_for_a_release() -> None:
    assert build_refusal(changed(version="v1.2.0-rc.1", runtime="systemd", prefix="/" + "x" * 90)) == ""
    for fault in ({"version": ""}, {"service": "x"}, {"component": "x"}, {"given": {"verison": ""}}):
        assert build_refusal(changed(**fault)) == asked(**fault) != ""


def test_the_longest_prefix_that_works_is_taken() -> None:
    tail = len("/run/supervisor.sock")
    assert asked(prefix="/" + "x" * (99 - tail - 1)) == ""
    assert "has 100 bytes" in asked(prefix="/" + "x" * (99 - tail))


def test_as_root_a_closed_folder_on_the_way_is_named() -> None:
    # not in pytest's own folder: its path may be longer than a socket's can be
    with TemporaryDirectory(dir="/tmp") as closed:
        Path(closed).chmod(0o700)
        prefix = f"{closed}/caelum"
        assert f"cannot enter {closed} on the way" in asked(prefix=prefix, as_root=True)
        assert f"chmod o+x {closed}" in asked(prefix=prefix, as_root=True)
        assert asked(prefix=prefix, as_root=False) == ""


def test_all_roles_together_declare_what_is_known() -> None:
    specs: list[dict[str, Any]] = [
        {"argument_specs": {"main": {"options": {"b": {}, "a": {"type": "int"}}}}},
        {"argument_specs": {"x": {"options": {"c": {"type": "bool"}}}}},
    ]
    assert declared(specs) == {"a": "int", "b": "str", "c": "bool"}


def test_a_value_of_the_example_is_found_at_any_depth() -> None:
    found = {
        "vault_a": "change-me",
        "vault_b": "changed",
        "vault_c": {"pim": "x", "fincoll": " change-me\n"},
        "vault_d": {},
    }
    assert placeholders(found.items()) == ["vault_a", "vault_c"]


def test_a_fleets_secrets_that_are_not_encrypted_are_refused_unless_others_are_given(tmp_path: Path) -> None:
    fleet: dict[str, Any] = {"runtime": "systemd", "prefix": "/", "vault": str(tmp_path / "vault.yml")}
    assert asked(**fleet) == ""
    (tmp_path / "vault.yml").write_text("vault_tokens: {pim: secret}\n")
    assert asked(**fleet) == (
        f"{tmp_path}/vault.yml holds secrets and is not encrypted; run `ansible-vault encrypt {tmp_path}/vault.yml`"
    )
    assert asked(**fleet, given=dict.fromkeys(SECRETS, "x")) == ""
    assert asked(vault=fleet["vault"]) == ""
    (tmp_path / "vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3031\n")
    assert asked(**fleet) == ""
