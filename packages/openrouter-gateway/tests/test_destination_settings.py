"""Destinations of gateway.toml."""

from pathlib import Path
from typing import Any

import pytest

from openrouter_gateway.broadcast.limits import Limits
from openrouter_gateway.config.broadcast import BroadcastSettings, DestinationSettings
from openrouter_gateway.config.destinations import build_destinations
from openrouter_gateway.config.settings import SettingError, Settings, load_settings
from openrouter_gateway.core.destination import Destination, FilterGroup, FilterRule, FilterRules
from openrouter_gateway.errors import ConfigError

CANARY = "canary-5f3a9c1e77-do-not-show"
EXAMPLE = Path(__file__).parents[3] / "examples" / "gateway.toml"


def build(*sections: dict[str, Any], **environment: str) -> list[Destination]:
    return build_destinations([DestinationSettings.model_validate(section) for section in sections], environment)


def webhook(name: str = "one", **fields: Any) -> dict[str, Any]:
    return {"type": "webhook", "name": name, "config": {"url": "http://x/"}} | fields


def test_the_example() -> None:
    """Fields in either spelling, and one from a variable."""
    settings = load_settings(EXAMPLE)
    (destination,) = build_destinations(settings.destinations, {"LANGFUSE_SECRET_KEY": CANARY})
    assert {
        "publicKey": "pk-lf-example",
        "secretKey": CANARY,
        "baseUrl": "https://cloud.langfuse.com",
    } == destination.config
    rule = FilterRule(field="model", operator="starts_with", value="openai/")
    assert FilterRules(groups=[FilterGroup(logic="or", rules=[rule])]) == destination.filter_rules
    assert (True, 0.1, True) == (
        destination.privacy_mode,
        destination.sampling_rate,
        destination.broadcast_generation_cost,
    )


def test_ids_stay() -> None:
    """What waits on disk belongs to the same destination after a restart, whatever else has changed."""
    (one,), (two,) = build(webhook()), build(webhook(config={"url": "http://y/"}, privacy_mode=True))
    assert one.id == two.id
    assert build(webhook("two"))[0].id != one.id


def test_headers_from_variables() -> None:
    """Their names stay as they are written."""
    config = {"url": "http://x/", "headers": {"X-Plain_Name": "a", "Authorization_env": "TOKEN"}}
    (destination,) = build(webhook(config=config), TOKEN=f"Bearer {CANARY}")
    assert {"X-Plain_Name": "a", "Authorization": f"Bearer {CANARY}"} == destination.config["headers"]


@pytest.mark.parametrize(
    ("sections", "key", "reason"),
    [
        ([webhook(), webhook()], ("destinations", 1, "name"), "another webhook has this name"),
        ([webhook(type="nonsense")], ("destinations", 0), "'nonsense' is not known"),
        ([webhook(config={"url": f"ftp://{CANARY}@x"})], ("destinations", 0), r"config\.url: must be http"),
        ([webhook(config={"url_env": "NOT_SET"})], ("destinations", 0, "config", "url_env"), "is not set"),
        ([webhook(config={"url": "http://x", "sekret": CANARY})], ("destinations", 0), "sekret"),
        (
            [webhook(filter_rules={"groups": [{"rules": [{"field": "x"}]}]})],
            ("destinations", 0, "filter_rules"),
            "enum",
        ),
        ([webhook(filter_rules={"rules": []})], ("destinations", 0, "filter_rules"), "rules"),
    ],
)
def test_what_is_wrong(sections: list[dict[str, Any]], key: tuple[str | int, ...], reason: str) -> None:
    """The message says where, and quotes no value."""
    with pytest.raises(SettingError, match=reason) as caught:
        build(*sections)
    assert key == caught.value.key
    assert CANARY not in str(caught.value)


def test_credentials_are_never_shown() -> None:
    """Not by the settings either."""
    settings = Settings.model_validate({"destinations": [webhook(config={"url": CANARY, "headers": {"A": CANARY}})]})
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert CANARY not in shown


def test_typing_errors(tmp_path: Path) -> None:
    """They are found with their line."""
    file = tmp_path / "gateway.toml"
    file.write_text('[[destinations]]\ntype = "webhook"\nname = "x"\nconfig = {}\nsampling_rate = 2\n')
    with pytest.raises(ConfigError, match=r"gateway.toml:5: destinations\.0\.sampling_rate") as caught:
        load_settings(file)
    assert CANARY not in str(caught.value)


def test_limits() -> None:
    """The disk is shared by the workers."""
    settings = BroadcastSettings(disk_bytes=1000, memory_bytes=100_000)
    expected = Limits(disk_bytes=250, memory_bytes=100_000, batch_bytes=512 * 1024, timeout_s=15.0)
    assert expected == settings.limits(workers=4)


def test_where_traces_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the ledger, unless told otherwise."""
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert Path("/data/openrouter-gateway/broadcast") == BroadcastSettings().spool_directory
    assert Path("/x") == BroadcastSettings(directory=Path("/x")).spool_directory
