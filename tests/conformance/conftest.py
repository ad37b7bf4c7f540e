import pytest

pytest.register_assert_rewrite("latewood.storage.conformance")
