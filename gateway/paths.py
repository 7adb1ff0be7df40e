"""Where the files that are not Python live: the Lua scripts and the default configuration.

In a checkout (also an editable install) they stand at the top of the repository, where people look for them.
The wheel, and so the image that installs it, carries them inside the package as `_lua` and `_config`.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def lua_dir() -> Path:
    """The folder of the Lua scripts, `_lib/` inside it.

    Raises:
        FileNotFoundError: the installation is incomplete; the message names both places that were tried.
    """
    return _first_existing(PACKAGE / "_lua", PACKAGE.parent / "lua")


def default_config() -> Path:
    """The `gateway.toml` that ships with the package: every key with its default.

    Raises:
        FileNotFoundError: the installation is incomplete; the message names both places that were tried.
    """
    return _first_existing(PACKAGE / "_config" / "gateway.toml", PACKAGE.parent / "config" / "gateway.toml")


def _first_existing(installed: Path, checkout: Path) -> Path:
    """The installed place wins: beside an installed package, `site-packages/lua` could be anybody's."""
    for place in (installed, checkout):
        if place.exists():
            return place
    raise FileNotFoundError(
        f"neither {installed} nor {checkout} exists: the installation is incomplete, install it again"
    )
