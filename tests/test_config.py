"""Settings: unknown keys, wrong units and broken files are told in one sentence with its remedy."""

from pathlib import Path

import pytest

from agent.config import Settings, load_settings, parse_settings
from agent.errors import SettingError

SHIPPED = Path(__file__).parent.parent / "deploy" / "sottovoce.toml"


def test_the_shipped_file_holds_every_setting_at_a_usable_value() -> None:
    settings = load_settings(SHIPPED)
    assert settings.study == "home"
    text = SHIPPED.read_text()
    for section in Settings.model_fields:
        assert section in text


def test_without_a_file_the_defaults_hold() -> None:
    assert load_settings(None) == Settings()


def test_an_unknown_key_is_refused_and_the_near_one_is_named() -> None:
    with pytest.raises(SettingError, match=r"'microphone\.devise' in x is not a setting"):
        parse_settings({"microphone": {"devise": "default"}}, "x")
    with pytest.raises(SettingError, match="Did you mean 'retention_days'"):
        parse_settings({"keep": {"retention_weeks": 3}}, "x")


def test_an_unknown_key_unlike_any_lists_the_known_ones() -> None:
    with pytest.raises(SettingError, match="Known here: study, state"):
        parse_settings({"zzzz": 1}, "x")


@pytest.mark.parametrize(
    ("found", "word"),
    [
        ({"keep": {"retention_days": "90 days"}}, "number of days"),
        ({"camera": {"frames_per_s": 100.0}}, "frames a second"),
        ({"broker": {"port": 70_000}}, "65535"),
        ({"study": "Über Studie"}, "study"),
    ],
)
def test_a_wrong_unit_or_range_names_the_key_and_what_it_accepts(
    found: dict[str, object], word: str
) -> None:
    with pytest.raises(SettingError, match=word):
        parse_settings(found, "x")


def test_a_missing_and_a_broken_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="can't be read"):
        load_settings(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("study = ")
    with pytest.raises(SettingError, match="not valid TOML"):
        load_settings(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingError, match="not valid TOML"):
        load_settings(broken)
