"""Settings come from one typed place; a wrong one stops the start with one line that holds no secret."""

import json

import pytest

from caelum_common.settings import ServiceSettings, credential
from caelum_common.start import CannotStart


class Settings(ServiceSettings):
    caelum_component: str = "example"
    example_port: int = 1


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for key in ("CAELUM_ENV_FILE", "CREDENTIALS_DIRECTORY", "EXAMPLE_PORT", "CAELUM_SLOT"):
        monkeypatch.delenv(key, raising=False)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(monkeypatch, tmp_path):
    file = tmp_path / "example.env"
    file.write_text("EXAMPLE_PORT=2\nCAELUM_SLOT=candidate\nCAELUM_SHARE=\nSOMEBODY_ELSES=1\n")
    monkeypatch.setenv("CAELUM_ENV_FILE", str(file))
    monkeypatch.setenv("EXAMPLE_PORT", "3")
    settings = Settings()
    assert settings.example_port == 3
    assert settings.instance == "example@candidate"
    assert settings.caelum_share is None


def test_a_value_that_does_not_fit_is_named_but_not_shown(monkeypatch):
    monkeypatch.setenv("EXAMPLE_PORT", "hunter2")
    with pytest.raises(CannotStart, match="EXAMPLE_PORT") as refused:
        Settings()
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_environment_file_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("CAELUM_ENV_FILE", str(tmp_path / "gone.env"))
    with pytest.raises(CannotStart, match=r"gone\.env is not there"):
        Settings()


def test_a_credential_is_a_file_that_was_handed_over(monkeypatch, tmp_path):
    assert credential("token") is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert credential("token") is None
    (tmp_path / "token").write_text(" secret \n")
    assert credential("token") == " secret "


def test_tokens_are_read_as_json(monkeypatch):
    monkeypatch.setenv("CAELUM_TOKENS_SHA256", json.dumps({"pim": "00"}))
    assert Settings().caelum_tokens_sha256 == {"pim": "00"}
