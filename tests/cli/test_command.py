"""The command as a person meets it: help, version, check, and a serve that refuses a bad configuration."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import pytest

import gateway
from tests.cli.fake_gateway import fake_gateway
from tests.cli.playing import command

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}


async def test_command_help_is_quick_and_names_every_subcommand() -> None:
    """Help needs none of the heavy imports. What is measured is its own work: for a processor it may have to wait."""
    await command("--help")
    begun_s = worked_s()
    status, out, _ = await command("--help")
    seconds = worked_s() - begun_s

    assert status == 0
    assert all(name in out for name in ("serve", "check", "import", "replay", "flashsale", "version"))
    assert 0 < seconds < 3


def worked_s() -> float:
    """What the processes that this one started and saw end have worked."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def test_command_imports_nothing_heavy_before_it_runs() -> None:
    """Building the command loads neither the web framework nor the settings nor the service."""
    import asyncio

    code = "import sys; from gateway.cli.command import build; build(); print(*sorted(sys.modules))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    out, _ = await process.communicate()
    loaded = out.decode().split()

    assert "gateway.cli.replay" in loaded
    assert not {"aiohttp", "gateway.settings", "gateway.app", "redis", "sqlalchemy", "rich.progress"} & set(loaded)


async def test_command_version_is_the_package_version() -> None:
    """One line, the version."""
    assert await command("version") == (0, gateway.__version__ + "\n", "")
    assert await command("--version") == (0, gateway.__version__ + "\n", "")


async def test_check_prints_the_configuration_in_force_without_secrets(tmp_path: Path) -> None:
    """Every key with its value and its place; passwords and keys are masked."""
    config = tmp_path / "my.toml"
    config.write_text('port = 9999\nredis_url = "redis://user:hush@db:6379/0"\nbootstrap_key = "hush2"\n')

    status, out, _ = await command("check", "--config", str(config), environ={**CLEAN, "GATEWAY_LOG__LEVEL": "debug"})

    assert status == 0
    assert f"port = 9999  # {config}" in out
    assert 'log.level = "debug"  # environment' in out
    assert "redis://user:***@db:6379/0" in out
    assert "tiers.cart.ttl_seconds = 300" in out
    assert "hush" not in out


async def test_check_and_serve_name_what_is_wrong_in_the_configuration(tmp_path: Path) -> None:
    """Each bad key in a plain line; check ends with 1, serve with 2, nothing was started."""
    config = tmp_path / "my.toml"
    config.write_text("prot = 1\nport = 99999999\n")

    checked = await command("check", "--config", str(config), environ=CLEAN)
    served = await command("serve", "--config", str(config), environ=CLEAN)

    assert (checked[0], served[0]) == (1, 2)
    for _, _, err in (checked, served):
        assert "prot" in err
        assert "port" in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"GATEWAY_HOST": "192.0.2.1"}, "GATEWAY_BOOTSTRAP_KEY"), ({"GATEWAY_REDIS_URL": "redis+cluster://h"}, "cluster")],
)
async def test_check_and_serve_refuse_what_cannot_be_served(
    tmp_path: Path, settings: dict[str, str], word: str
) -> None:
    """Both say the same, and serve has written nothing before it said so."""
    environ = CLEAN | settings | {"GATEWAY_DATA_DIR": str(tmp_path / "data")}

    checked = await command("check", environ=environ)
    served = await command("serve", environ=environ)

    assert (checked[0], served[0]) == (1, 2)
    assert word in checked[2]
    assert word in served[2]
    assert not (tmp_path / "data").exists()


async def test_check_of_a_running_gateway_tells_its_verdict() -> None:
    """Well is 0; not ready, a broken law, or no answer at all is 1, with the reason."""
    async with fake_gateway() as fake:
        well = await command("check", "--url", fake.url)
        fake.violations = [{"law": 1, "sku": "A", "found": "[2]"}]
        broken = await command("check", "--url", fake.url)
        fake.violations, fake.is_ready = [], False
        unready = await command("check", "--url", fake.url)
        url = fake.url
    absent = await command("check", "--url", url)

    assert [found[0] for found in (well, broken, unready, absent)] == [0, 1, 1, 1]
    assert "verdict: well" in well[1]
    assert "redis: ok: yes, detail: 7.2 [primary]" in well[1]
    assert "1 violations" in broken[1]
    assert "sku: A, found: [2]" in broken[1]
    assert "readiness: unready" in unready[1]
    assert "not well: GET" in absent[2]


async def test_check_deep_asks_the_gateway_that_runs() -> None:
    """At --url or at the configured address: 0 without violations, 1 with each of them told, 2 when it gives no verdict."""
    async with fake_gateway() as fake:
        configured = {**CLEAN, "GATEWAY_PORT": fake.url.rpartition(":")[2]}
        clean = await command("check", "--deep", environ=configured)
        fake.violations = [{"invariant": 8, "kind": "lost", "where": "rsv_0-1-2-x", "detail": "[gone]"}]
        broken = await command("check", "--deep", "--url", fake.url, environ=CLEAN)
        fake.conservation_status = 503
        behind = await command("check", "--deep", environ=configured)
        url = fake.url
    absent = await command("check", "--deep", "--url", url, environ=CLEAN)

    assert [found[0] for found in (clean, broken, behind, absent)] == [0, 1, 2, 2]
    assert f"asked the gateway at {url}" in clean[1]
    assert "checked: levels 0\nverdict: 0 violations" in clean[1]
    assert "violation: invariant 8, lost, rsv_0-1-2-x: [gone]\n" in broken[1]
    assert "verdict: 1 violations" in broken[1]
    assert "not checked: durable_store_unavailable" in behind[2]
    assert f"not checked: GET {url}/healthz" in absent[2]


async def test_command_with_wrong_options_ends_with_status_2() -> None:
    """A mistyped option or value is a usage error."""
    assert (await command("replay", "x.csv", "--spede", "max"))[0] == 2
    assert (await command("replay", "x.csv", "--abandon", "1.5"))[0] == 2
    assert (await command("import", "x.csv", "--sequence", "9007199254740992"))[0] == 2
