"""Every check of the shipped kit, against every store."""

from pathlib import Path

import pytest
from conformance.stores import STORES

from latewood.storage.conformance.registry import CAPABILITIES, Check

CHECKS = [(capability, check) for capability, checks in CAPABILITIES.items() for check in checks]
LONG = {"check_facts_are_bounded", "check_refusals_are_bounded"}
"""They fill a store up to its bounds."""


@pytest.mark.parametrize(
    ("capability", "check"),
    [
        pytest.param(
            capability, check, id=f"{capability}-{check.__name__[6:]}",
            marks=[pytest.mark.slow] if check.__name__ in LONG else [],
        )
        for capability, check in CHECKS
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", STORES)
async def test_the_kit(name: str, capability: str, check: Check, tmp_path: Path) -> None:
    await check(STORES[name](tmp_path))


def test_the_kit_leaves_no_check_out() -> None:
    from importlib import import_module
    from pkgutil import iter_modules

    import latewood.storage.conformance as kit

    listed = {check.__name__ for _, check in CHECKS}
    written = {
        name
        for module in iter_modules(kit.__path__)
        for name in vars(import_module(f"{kit.__name__}.{module.name}"))
        if name.startswith("check_")
    }
    assert written == listed
