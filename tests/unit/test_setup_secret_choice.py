import pytest

from owctl.errors import ConfigurationError
from owctl.project.secret_choice import InUse, Situation, choose_secret

NOTHING_THERE = InUse()
VOLUME = InUse({}, "volume p_postgres_data")


def situation(*, in_use, fresh=False, current=None, shell=None, effective=None):
    return Situation(current or {}, shell or {}, effective or {}, in_use, fresh)


def test_a_placeholder_is_replaced_where_nothing_uses_it():
    now = situation(in_use=NOTHING_THERE, current={"POSTGRES_PASSWORD": "changeme"})
    choice = choose_secret("POSTGRES_PASSWORD", now)
    assert choice.generated
    assert choice.value


def test_a_secret_of_the_user_stays():
    now = situation(in_use=NOTHING_THERE, current={"WEBUI_SECRET_KEY": "chosen-by-hand-1"})
    assert choose_secret("WEBUI_SECRET_KEY", now).value is None


def test_nothing_in_a_public_example_is_secret():
    now = situation(in_use=None, fresh=True, current={"POSTGRES_PASSWORD": "chosen-by-hand-1"})
    assert choose_secret("POSTGRES_PASSWORD", now).generated


def test_a_placeholder_stays_while_it_is_unknown_whether_it_is_in_use():
    now = situation(in_use=None, current={"POSTGRES_PASSWORD": "changeme"})
    choice = choose_secret("POSTGRES_PASSWORD", now)
    assert choice.value is None
    assert not choice.generated
    assert "start the engine" in (choice.note or "")


def test_a_default_of_the_compose_file_may_be_in_use_too():
    now = situation(in_use=None, effective={"POSTGRES_PASSWORD": "open_webui_password"})
    assert choose_secret("POSTGRES_PASSWORD", now).value is None


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "WEBUI_SECRET_KEY", "REDIS_PASSWORD"])
@pytest.mark.parametrize("current", ["", "changeme"])
def test_what_a_container_uses_is_taken(name, current):
    in_use = InUse({name: "from-the-container"}, "container p-postgres-1")
    choice = choose_secret(name, situation(in_use=in_use, current={name: current}))
    assert choice.value == "from-the-container"
    assert not choice.generated


def test_a_widely_known_password_in_use_stays_and_is_named():
    in_use = InUse({"POSTGRES_PASSWORD": "postgres"}, "container p-postgres-1")
    now = situation(in_use=in_use, current={"POSTGRES_PASSWORD": "postgres"})
    choice = choose_secret("POSTGRES_PASSWORD", now)
    assert choice.value is None
    assert "widely known" in (choice.note or "")


def test_a_password_that_differs_from_the_containers_is_named_and_left():
    in_use = InUse({"POSTGRES_PASSWORD": "from-the-container"}, "container p-postgres-1")
    now = situation(in_use=in_use, current={"POSTGRES_PASSWORD": "chosen-by-hand-1"})
    choice = choose_secret("POSTGRES_PASSWORD", now)
    assert choice.value is None
    assert "put the old one back" in (choice.note or "")


def test_a_volume_alone_keeps_the_password_of_env():
    now = situation(in_use=VOLUME, current={"POSTGRES_PASSWORD": "changeme"})
    choice = choose_secret("POSTGRES_PASSWORD", now)
    assert choice.value is None
    assert "p_postgres_data" in (choice.note or "")


def test_a_volume_alone_takes_the_compose_files_default_over_the_examples_value():
    now = situation(
        in_use=VOLUME,
        fresh=True,
        current={"POSTGRES_PASSWORD": "postgres"},
        effective={"POSTGRES_PASSWORD": "open_webui_password"},
    )
    assert choose_secret("POSTGRES_PASSWORD", now).value == "open_webui_password"


def test_a_volume_whose_password_nobody_knows_is_an_error():
    with pytest.raises(ConfigurationError, match="password is not known") as caught:
        choose_secret("POSTGRES_PASSWORD", situation(in_use=VOLUME, fresh=True))
    assert "--set POSTGRES_PASSWORD" in (caught.value.hint or "")


def test_the_volume_of_the_database_says_nothing_about_other_secrets():
    assert choose_secret("WEBUI_SECRET_KEY", situation(in_use=VOLUME, fresh=True)).generated


def test_the_shells_value_is_written_down():
    now = situation(in_use=None, fresh=True, shell={"POSTGRES_PASSWORD": "from-the-shell"})
    assert choose_secret("POSTGRES_PASSWORD", now).value == "from-the-shell"


def test_secrets_are_not_in_the_repr():
    now = situation(in_use=VOLUME, current={"POSTGRES_PASSWORD": "hidden-value"})
    assert "hidden-value" not in repr(now) + repr(choose_secret("POSTGRES_PASSWORD", now))
