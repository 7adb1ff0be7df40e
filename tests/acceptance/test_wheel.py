"""The built wheel: what is installed from it works without the checkout that it was built from."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import aiohttp
import pytest

from gateway import __version__
from tests.acceptance.client import Client
from tests.acceptance.gateways import Gateway
from tests.servers import short_folder

CHECKOUT = Path(__file__).resolve().parents[2]
BUILD_SECONDS_MAX = 100
RUN_SECONDS_MAX = 30
# Without `site` Python knows neither the path file of the editable install nor the folder it is run from; what it may
# import is its own library and the folders of PYTHONPATH: the wheel, and the packages it depends on.
PYTHON = (sys.executable, "-S", "-P")

PLACES = """
import gateway, sys
from gateway.paths import default_config, lua_dir
from gateway.hot.scripts import Scripts
scripts = Scripts(lua_dir())
print(gateway.__file__, lua_dir(), default_config(), len(scripts.library), sep="\\n")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout with the tools of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(CHECKOUT)],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS_MAX,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    [found] = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as an installer lays it out."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def environment(unpacked: Path) -> dict[str, str]:
    """One in which the wheel and its dependencies can be imported, and nothing of the checkout."""
    paths = dict.fromkeys((str(unpacked), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "PYTHON"))}
    return plain | {"PYTHONPATH": os.pathsep.join(paths)}


def run(unpacked: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python that knows the wheel was run in an empty folder."""
    return subprocess.run(
        [*PYTHON, *arguments],
        cwd=folder,
        env=environment(unpacked),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )


def files_of(folder: Path) -> set[str]:
    """The names of all files below the folder that are part of the project."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_the_package_its_scripts_and_its_defaults(wheel: Path) -> None:
    """Every file of gateway/ and lua/ and the default configuration, in one package, and nothing beside it."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    metadata = f"reservation_gateway-{__version__}.dist-info"
    expected = {f"gateway/{name}" for name in files_of(CHECKOUT / "gateway")}
    expected |= {f"gateway/_lua/{name}" for name in files_of(CHECKOUT / "lua")}
    expected |= {"gateway/_config/gateway.toml"}

    assert {name for name in names if not name.startswith(f"{metadata}/")} == expected
    assert {f"{metadata}/{name}" for name in ("METADATA", "entry_points.txt", "licenses/LICENSE")} <= names


def test_wheel_finds_and_loads_its_own_files(unpacked: Path, tmp_path: Path) -> None:
    """Scripts and defaults come from the wheel, and the library of scripts is what the checkout's is."""
    ran = run(unpacked, tmp_path, "-c", PLACES)
    here = subprocess.run([sys.executable, "-c", PLACES], capture_output=True, text=True, timeout=30, check=True)

    assert ran.returncode == 0, ran.stderr
    package, lua, config, size = ran.stdout.splitlines()
    assert Path(package) == unpacked / "gateway" / "__init__.py"
    assert Path(lua) == unpacked / "gateway" / "_lua"
    assert Path(config) == unpacked / "gateway" / "_config" / "gateway.toml"
    assert size == here.stdout.splitlines()[-1]


@pytest.mark.parametrize("words", [("version",), ("--version",)])
def test_wheel_tells_its_version(unpacked: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """`python -m gateway` is the command."""
    ran = run(unpacked, tmp_path, "-m", "gateway", *words)

    assert (ran.returncode, ran.stdout.strip()) == (0, __version__), ran.stderr


def test_wheel_checks_its_defaults(unpacked: Path, tmp_path: Path) -> None:
    """`gateway check` finds the configuration that ships with it, and leaves nothing in the folder."""
    ran = run(unpacked, tmp_path, "-m", "gateway", "check")

    assert ran.returncode == 0, ran.stderr
    assert "tiers.cart.ttl_seconds = 300" in ran.stdout
    assert list(tmp_path.iterdir()) == []


async def test_wheel_serves(unpacked: Path, session: aiohttp.ClientSession) -> None:
    """A gateway without settings: schema, scripts, pages and private Redis come out of the wheel; it drains with 0."""
    with short_folder() as folder:
        running = Gateway(folder / "g", environment(unpacked), command=(*PYTHON, "-m", "gateway"))
        try:
            running.start()
            api = Client(session, running.address, "main")
            await api.stock_up("A", 5)
            held = await api.hold("A", 2, ack="durable")
            sold = await api.done("confirm", held["id"])
            page = await api.get("/docs/swagger-ui.css")
            violations = (await api.get("/v1/admin/conservation")).body["violations"]
            status = running.stop()
        finally:
            running.close()
    assert (sold["state"], page.status, violations, status) == ("confirmed", 200, [], 0)
