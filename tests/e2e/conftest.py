"""The command line is run in this process, over and over."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
from typer import testing


@pytest.fixture(scope="session", autouse=True)
def commands_made_once() -> Iterator[None]:
    """Typer makes all hundred commands for each one that is run, which takes twice as long as most of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "_get_command", functools.cache(testing._get_command))
        yield
