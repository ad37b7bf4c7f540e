"""The tree of errors."""

import pytest

from latewood.graph_schema import errors
from latewood.graph_schema.errors import CODES, CorruptError, LatewoodError, RefusedError, UnavailableError

CLASSES = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, LatewoodError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_has_a_known_code_and_a_branch(kind: type[LatewoodError]) -> None:
    error = kind("what and the way out", place=3)

    assert error.code in CODES
    assert str(error) == error.message == "what and the way out"
    assert error.details == {"place": 3}
    branches = {RefusedError: "refused", UnavailableError: "unavailable", CorruptError: "corrupt"}
    assert error.branch == next((name for one, name in branches.items() if issubclass(kind, one)), "internal")


def test_an_unknown_code_is_a_programming_error() -> None:
    with pytest.raises(AssertionError):
        LatewoodError("x", code="no.such.code")


def test_every_code_says_what_it_means() -> None:
    for code, sentence in CODES.items():
        assert code == code.lower()
        assert sentence.endswith(".")
