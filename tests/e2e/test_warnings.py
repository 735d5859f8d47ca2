"""What the compose files make one wonder about is said where it matters, and only there."""

import pytest

from tests.e2e.conftest import owctl

pytestmark = pytest.mark.e2e


def test_an_unset_variable_is_warned_of_by_config_and_not_by_status(tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "name: owctl-test-warnings\nservices:\n  one:\n    image: a\n    hostname: ${NOT_SET}x\n"
    )
    shown = owctl("config", cwd=tmp_path)
    assert shown.returncode == 0
    assert "NOT_SET" in shown.stderr
    quiet = owctl("status", cwd=tmp_path)
    assert quiet.returncode == 0
    assert quiet.stderr == ""
