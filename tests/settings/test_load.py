from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import Key, Layer, Settings, SettingsInvalid, keys, load, variable_name

PASSWORD = "hunter2-hunter2"


@pytest.fixture
def operator(tmp_path: Path) -> Path:
    return tmp_path / "operator.toml"


def errors(path: Path | None, environ: dict[str, str]) -> dict[str, str]:
    with pytest.raises(SettingsInvalid) as caught:
        load(path, environ)
    return dict(caught.value.errors)


def test_load_without_anything_gives_the_defaults_of_the_model() -> None:
    """The TOML that ships and the model have the same defaults."""
    assert load(None, {}).model_dump() == Settings().model_dump()


def test_settings_built_directly_ignore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `load` reads the world; a test that builds Settings does not depend on its machine."""
    monkeypatch.setenv("GATEWAY_PORT", "9")
    monkeypatch.setenv("port", "9")
    assert Settings().port == 8080


def test_load_reads_the_process_environment_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the environment of the process counts."""
    monkeypatch.setenv("GATEWAY_PORT", "9001")
    assert load().port == 9001


def test_layers_environment_wins_over_operator_over_default(operator: Path) -> None:
    """The strongest layer that names a key decides it, key by key."""
    operator.write_text("port = 1\nhost = '0.0.0.0'\n[flush]\nbatch_max = 3\npoll_ms = 4\n")
    settings = load(operator, {"GATEWAY_PORT": "2", "GATEWAY_FLUSH__POLL_MS": "5"})
    assert (settings.port, settings.host) == (2, "0.0.0.0")  # noqa: S104 - a value, nothing listens
    assert (settings.flush.batch_max, settings.flush.poll_ms, settings.flush.linger_ms_max) == (3, 5, 20)


def test_layers_one_key_of_one_tier_keeps_its_other_defaults(operator: Path) -> None:
    """A file that names one key of a tier changes that key and nothing else."""
    operator.write_text("[tiers.cart]\nttl_seconds = 7\n")
    tiers = load(operator, {"GATEWAY_TIERS__ORDER__TTL_SECONDS": "8"}).tiers
    assert tiers["cart"].model_dump() == {
        "ttl_seconds": 7,
        "ttl_seconds_max": 1800,
        "lifetime_seconds_max": 3600,
    }
    assert tiers["order"].ttl_seconds == 8
    assert sorted(tiers) == ["cart", "checkout", "order", "payment"]


def test_operator_file_of_the_command_line_wins_over_the_variable(tmp_path: Path) -> None:
    """`--config` is nearer to the operator than GATEWAY_CONFIG."""
    (tmp_path / "a.toml").write_text("port = 1\n")
    (tmp_path / "b.toml").write_text("port = 2\n")
    environ = {"GATEWAY_CONFIG": str(tmp_path / "b.toml")}
    assert load(tmp_path / "a.toml", environ).port == 1
    assert load(None, environ).port == 2
    assert load(None, {"GATEWAY_CONFIG": ""}).port == 8080


def test_operator_file_that_is_missing_stops_the_start_with_its_key(tmp_path: Path) -> None:
    """A file that was named must be there; the key that named it is told."""
    missing = tmp_path / "none.toml"
    assert "No such file" in errors(None, {"GATEWAY_CONFIG": str(missing)})["GATEWAY_CONFIG"]
    assert str(missing) in errors(missing, {})["--config"]
    assert "Is a directory" in errors(tmp_path, {})["--config"]


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"port = ", "is not TOML"), (b"port = 1\nport = 2\n", "is not TOML"), (b"host = '\xff'", "not UTF-8")],
)
def test_operator_file_that_cannot_be_parsed_is_one_error_beside_others(
    operator: Path, content: bytes, told: str
) -> None:
    """A broken file does not hide what is wrong in the environment."""
    operator.write_bytes(content)
    found = errors(operator, {"GATEWAY_PORT": "70000"})
    assert told in found["--config"]
    assert "GATEWAY_PORT" in found


def test_every_bad_key_of_every_layer_is_named_in_one_error(operator: Path) -> None:
    """Unknown, out of limits, wrong type, wrong form: all at once, each as the operator wrote it."""
    operator.write_text(
        "prot = 80\nshards = true\n[http]\nbody_bytes_max = 1\nbody_byte_max = 5\n[log]\nlevel = 'loud'\n"
        "[nonsense]\nx = 1\n[flush]\nbatch_max = '20'\nlinger_ms_max = true\npoll_ms = 5.0\n"
        "[locations]\npriority = ['ok', 'not ok', 7]\n[tiers.'a b']\nttl_seconds = 1\n"
        "ttl_seconds_max = 1\nlifetime_seconds_max = 1\n[tiers.new]\nttl_seconds = 1\n"
    )
    environ = {
        "GATEWAY_PORT": "http",
        "GATEWAY_HTPP__BODY_BYTES_MAX": "1",
        "GATEWAY_HTTP__DRAIN_TIMEOUT_MS": "9001",
        "HOME": "/root",
    }
    found = errors(operator, environ)
    assert set(found) == {
        "prot",
        "shards",
        "http.body_bytes_max",
        "http.body_byte_max",
        "log.level",
        "nonsense",
        "flush.batch_max",
        "flush.linger_ms_max",
        "flush.poll_ms",
        "locations.priority[1]",
        "locations.priority[2]",
        'tiers."a b"',
        "tiers.new.ttl_seconds_max",
        "tiers.new.lifetime_seconds_max",
        "GATEWAY_PORT",
        "GATEWAY_HTPP__BODY_BYTES_MAX",
        "GATEWAY_HTTP__DRAIN_TIMEOUT_MS",
    }
    assert found["http.body_bytes_max"] == f"must be 1024..67108864 bytes, not 1 ({operator})"
    assert found["http.body_byte_max"] == f"unknown key, did you mean http.body_bytes_max? ({operator})"
    assert found["prot"] == f"unknown key, did you mean port? ({operator})"
    assert found["GATEWAY_PORT"] == "must be 0..65535, not 'http' (environment)"
    assert "did you mean GATEWAY_HTTP__BODY_BYTES_MAX?" in found["GATEWAY_HTPP__BODY_BYTES_MAX"]
    assert found["log.level"].startswith("must be debug | info | warning | error, not 'loud'")
    assert f"({operator})" in found["tiers.new.ttl_seconds_max"]


def test_error_text_lists_each_key_on_its_line() -> None:
    """The text is what the command prints: a title and one line per key."""
    with pytest.raises(SettingsInvalid) as caught:
        load(None, {"GATEWAY_PORT": "-1", "GATEWAY_NOPE": "1"})
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 settings are not valid:"
    assert sorted(line.split(":")[0].strip() for line in lines[1:]) == ["GATEWAY_NOPE", "GATEWAY_PORT"]


@pytest.mark.parametrize("section", ["http", "tiers", "tiers.cart"])
def test_section_that_is_no_table_is_told_though_the_environment_sets_its_key(operator: Path, section: str) -> None:
    """A stronger layer that sets a key of the section does not hide that the file's section is no table."""
    operator.write_text(f"{section} = 3\n")
    environ = {"GATEWAY_HTTP__REQUESTS_MAX": "5", "GATEWAY_TIERS__CART__TTL_SECONDS": "5"}
    assert errors(operator, environ)[section].startswith("must be a table")


@pytest.mark.parametrize("key", [key for key in keys().values() if key.kind == "whole"], ids=lambda k: k.path)
def test_number_at_its_limits_is_taken_and_beyond_them_refused(key: Key) -> None:
    """The documented limits are the ones that are kept, for every number of the configuration."""
    low, _, high = key.limits.partition("..")

    def given(value: int) -> dict[str, str]:
        # The keys of a tier limit each other, so they move together.
        paths = [path for path in keys() if path[:-1] == key.path[:-1]] if key.path[0] == "tiers" else [key.path]
        return {variable_name(path): str(value) for path in paths}

    for value in (int(low), int(high or low)):
        load(None, given(value))
    for value in (int(low) - 1, int(high or low) + 1):
        assert variable_name(key.path) in errors(None, given(value))


def test_more_than_one_shard_says_that_this_version_has_not_got_them() -> None:
    """The refusal names the version, so that nobody searches for the mistake."""
    message = errors(None, {"GATEWAY_SHARDS": "2"})["GATEWAY_SHARDS"]
    assert message == "must be 1, not 2: several shards are not in 0.1.0 (environment)"


def test_tier_whose_times_contradict_names_the_key_that_the_operator_set(operator: Path) -> None:
    """Of two keys that do not fit, the one that was changed is blamed, wherever it stands."""
    operator.write_text("[tiers.cart]\nttl_seconds_max = 200\n[tiers.order]\nttl_seconds_max = 2678400\n")
    found = errors(operator, {"GATEWAY_TIERS__CHECKOUT__TTL_SECONDS": "9000"})
    assert set(found) == {
        "tiers.cart.ttl_seconds_max",
        "tiers.order.ttl_seconds_max",
        "GATEWAY_TIERS__CHECKOUT__TTL_SECONDS",
    }
    assert "ttl_seconds (300) must not be more than ttl_seconds_max (200)" in found["tiers.cart.ttl_seconds_max"]


def test_tier_of_the_operator_is_added_and_may_be_changed_by_the_environment(operator: Path) -> None:
    """A name's `-` and `.` are `_` in a variable."""
    operator.write_text("[tiers.Pre-order]\nttl_seconds = 60\nttl_seconds_max = 60\nlifetime_seconds_max = 60\n")
    settings = load(operator, {"GATEWAY_TIERS__PRE_ORDER__TTL_SECONDS": "30"})
    assert settings.tiers["Pre-order"].ttl_seconds == 30
    assert len(settings.tiers) == 5


def test_tier_variable_that_fits_two_tiers_is_refused(operator: Path) -> None:
    """A variable never changes a tier by chance."""
    row = "{ttl_seconds = 60, ttl_seconds_max = 60, lifetime_seconds_max = 60}"
    operator.write_text(f"[tiers]\nvip = {row}\nVIP = {row}\n")
    found = errors(operator, {"GATEWAY_TIERS__VIP__TTL_SECONDS": "30"})
    assert "fits tiers.VIP.ttl_seconds and tiers.vip.ttl_seconds" in found["GATEWAY_TIERS__VIP__TTL_SECONDS"]


def test_tier_of_the_environment_alone_is_refused() -> None:
    """A misspelt tier in a variable is an unknown variable, not a new tier."""
    found = errors(None, {"GATEWAY_TIERS__CHART__TTL_SECONDS": "30"})
    assert "did you mean GATEWAY_TIERS__CART__TTL_SECONDS?" in found["GATEWAY_TIERS__CHART__TTL_SECONDS"]


def test_tiers_are_at_most_one_hundred(operator: Path) -> None:
    """The four that ship and ninety-six more."""
    row = "{ttl_seconds = 1, ttl_seconds_max = 1, lifetime_seconds_max = 1}"
    operator.write_text("[tiers]\n" + "".join(f"t{number} = {row}\n" for number in range(96)))
    assert len(load(operator, {}).tiers) == 100
    operator.write_text("[tiers]\n" + "".join(f"t{number} = {row}\n" for number in range(97)))
    assert "at most 100" in errors(operator, {})["tiers"]


def test_tiers_without_cart_are_refused() -> None:
    """The default tier of a reservation exists in every valid configuration."""
    with pytest.raises(ValidationError, match="must have the tier cart"):
        Settings(tiers={})


def test_locations_come_from_a_list_or_a_variable_with_commas(operator: Path) -> None:
    """The order is kept."""
    operator.write_text("[locations]\npriority = ['b', 'a']\n")
    assert load(operator, {}).locations.priority == ("b", "a")
    assert load(operator, {"GATEWAY_LOCATIONS__PRIORITY": "x, y"}).locations.priority == ("x", "y")
    assert load(operator, {"GATEWAY_LOCATIONS__PRIORITY": ""}).locations.priority == ()


def test_locations_twice_too_many_or_no_list_are_refused(operator: Path) -> None:
    """Each name once, at most a hundred."""
    variable = "GATEWAY_LOCATIONS__PRIORITY"
    assert "names a location twice: a" in errors(None, {variable: "a,b,a"})[variable]
    many = ",".join(f"l{number}" for number in range(101))
    assert "at most 100 names" in errors(None, {variable: many})[variable]
    operator.write_text("[locations]\npriority = 'berlin'\n")
    assert "at most 100 names, each once, not 'berlin'" in errors(operator, {})["locations.priority"]


@pytest.mark.parametrize("prefix", ["", "RG", "a-b", "ninechars", "rg\n"])
def test_redis_prefix_is_short_and_plain(prefix: str) -> None:
    """It stands in every key in Redis, inside and beside hash tags."""
    assert "[a-z0-9]{1,8}" in errors(None, {"GATEWAY_REDIS__PREFIX": prefix})["GATEWAY_REDIS__PREFIX"]


@pytest.mark.parametrize("number", ["", " 1", "1.0", "1e3", "0x10", "१", "9" * 5000])
def test_number_of_the_environment_is_decimal_digits_and_nothing_else(number: str) -> None:
    """No second way to write a number, and no long one that costs time."""
    assert "must be 1..10000" in errors(None, {"GATEWAY_FLUSH__BATCH_MAX": number})["GATEWAY_FLUSH__BATCH_MAX"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_REDIS_URL", f"http://:{PASSWORD}@h"),
        ("GATEWAY_REDIS_URL", PASSWORD),
        ("GATEWAY_DATABASE_URL", f"mysql://u:{PASSWORD}@h/d"),
        ("GATEWAY_BOOTSTRAP_KEY", PASSWORD * 20),
    ],
)
def test_secret_that_is_not_valid_is_named_and_not_shown(variable: str, value: str) -> None:
    """An error message may stand in a log: a secret is never in it, nor in the errors behind it."""
    with pytest.raises(SettingsInvalid) as caught:
        load(None, {variable: value})
    assert [key for key, _ in caught.value.errors] == [variable]
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(caught.value)
    assert PASSWORD not in str(caught.value.__cause__)


def test_secret_of_the_file_with_a_wrong_type_is_named_and_not_shown(operator: Path) -> None:
    """Also a secret of another type is not shown."""
    operator.write_text("bootstrap_key = 12345678\n")
    assert errors(operator, {})["bootstrap_key"] == f"must be at most 255 characters ({operator})"


def test_secrets_are_masked_in_reprs_and_listed_for_the_redaction() -> None:
    """The plain text leaves only through get_secret_value; `secrets` lists what a log line must not hold."""
    settings = load(
        None,
        {
            "GATEWAY_REDIS_URL": f"redis://app:{PASSWORD}@h:6379/0",
            "GATEWAY_DATABASE_URL": "postgresql://app:p%40ss@h/d",
            "GATEWAY_BOOTSTRAP_KEY": "key-1234",
        },
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert not any(secret in shown for secret in (PASSWORD, "p%40ss", "key-1234"))
    assert settings.redis_url.get_secret_value().startswith("redis://app:")
    assert settings.secrets() == {PASSWORD, "p%40ss", "p@ss", "key-1234"}
    assert Settings().secrets() == frozenset()


def test_origin_tells_the_layer_of_each_key(operator: Path) -> None:
    """Every key knows whether the environment, the operator's file or the defaults decided it."""
    operator.write_text("[tiers.cart]\nttl_seconds = 7\n")
    settings = load(operator, {"GATEWAY_PORT": "1"})
    assert settings.origin(("port",)).layer is Layer.ENVIRONMENT
    assert settings.origin(("port",)).written == "GATEWAY_PORT"
    assert settings.origin(("tiers", "cart", "ttl_seconds")).layer is Layer.OPERATOR
    assert settings.origin(("tiers", "cart", "ttl_seconds")).place == str(operator)
    assert settings.origin(("tiers", "cart", "ttl_seconds_max")).layer is Layer.DEFAULT
    assert Settings().origin(("port",)).layer is Layer.DEFAULT


def test_settings_are_frozen() -> None:
    """What was validated stays as it is."""
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.http.requests_max = 1  # type: ignore[misc]


def test_variables_of_a_kubernetes_service_are_told_with_the_mend() -> None:
    """A Service named gateway puts variables into every pod; the message says how to stop that."""
    found = errors(None, {"GATEWAY_SERVICE_HOST": "10.0.0.1", "GATEWAY_PORT_8080_TCP": "tcp://10.0.0.1:8080"})
    assert len(found) == 2
    assert all("enableServiceLinks" in message for message in found.values())


def test_host_has_one_to_253_characters() -> None:
    """As long as a name of the DNS can be, and never empty, which would mean every address."""
    assert load(None, {"GATEWAY_HOST": "h" * 253}).host == "h" * 253
    for host in ("", "h" * 254):
        assert "must be 1..253 characters" in errors(None, {"GATEWAY_HOST": host})["GATEWAY_HOST"]


def test_data_folder_is_absolute_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder counts from where the command was started; an empty one is refused."""
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).data_path == tmp_path / "data"
    assert "must name a folder" in errors(None, {"GATEWAY_DATA_DIR": " "})["GATEWAY_DATA_DIR"]
