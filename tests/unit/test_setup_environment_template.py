import pytest
from hypothesis import given
from hypothesis import strategies as st

from owctl.environment.dotenv import parse_environment
from owctl.errors import ConfigurationError, OwctlError
from owctl.project.environment_template import EnvironmentTemplate, quoted, read_template


def template(text, **environ):
    return EnvironmentTemplate(text, ".env", environ)


def assigned(text, key, value):
    edited = template(text)
    edited.assign(key, value)
    return edited.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nKEY=\nB=2\n", "A=1\nKEY=new\nB=2\n"),
        ("# c\n\nKEY=old # why\n", "# c\n\nKEY=new # why\n"),
        ("KEY= # why\n", "KEY= new # why\n"),
        ("export KEY=old\n", "export KEY=new\n"),
        ("KEY='old'\n", "KEY='new'\n"),
        ('KEY="old"  # why\n', 'KEY="new"  # why\n'),
        ("KEY=old\r\nB=2\r\n", "KEY=new\r\nB=2\r\n"),
        ("A=1\nKEY=old", "A=1\nKEY=new"),
        ("\ufeffKEY=old\n", "\ufeffKEY=new\n"),
        ("  KEY = old\n", "  KEY = new\n"),
        # The last one counts.
        ("KEY=first\nKEY=old\n", "KEY=first\nKEY=new\n"),
        ("OTHER_KEY=old\n#KEY=old\nKEY=old\n", "OTHER_KEY=old\n#KEY=old\nKEY=new\n"),
    ],
)
def test_a_value_is_replaced_in_its_line_and_all_else_stays(text, expected):
    assert assigned(text, "KEY", "new") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "# Added by owctl setup.\nKEY=new\n"),
        ("A=1", "A=1\n\n# Added by owctl setup.\nKEY=new\n"),
        ("A=1\r\n", "A=1\r\n\r\n# Added by owctl setup.\r\nKEY=new\r\n"),
        ("# KEY=default\n", "# KEY=default\n\n# Added by owctl setup.\nKEY=new\n"),
    ],
)
def test_a_missing_key_is_added_at_the_end(text, expected):
    assert assigned(text, "KEY", "new") == expected


def test_added_keys_share_one_comment():
    edited = template("A=1\n")
    edited.assign("B", "2")
    edited.assign("C", "3")
    assert edited.text == "A=1\n\n# Added by owctl setup.\nB=2\nC=3\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('KEY="one\ntwo"\nB=2\n', 'KEY="new"\nB=2\n'),
        ("KEY='one\n#two\n' # why\nB=2\n", "KEY='new' # why\nB=2\n"),
        ("A=1\r\nKEY='one\r\ntwo'\r\nB=2\r\n", "A=1\r\nKEY='new'\r\nB=2\r\n"),
        # python-dotenv cuts these at the first line's end.
        ('KEY: "one\ntwo" # why\nB=2\n', 'KEY: "new" # why\nB=2\n'),
        ("export KEY : 'one\nKEY=two'\nB=2", "export KEY : 'new'\nB=2"),
        ("B='\nKEY=no'\nKEY='one\ntwo'\n", "B='\nKEY=no'\nKEY='new'\n"),
        ("KEY='one\ntwo'\nKEY='three\nfour'\n", "KEY='one\ntwo'\nKEY='new'\n"),
    ],
)
def test_a_value_over_several_lines_is_replaced_as_a_whole(text, expected):
    assert assigned(text, "KEY", "new") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("KEY: old # why\n", "KEY: new # why\n"),
        ("KEY:old\n", "KEY:new\n"),
        ("export\tKEY=old\t #why\n", "export\tKEY=new\t #why\n"),
        ("KEY=\r\nB=2\r\n", "KEY=new\r\nB=2\r\n"),
        ("KEY=old # why\r\n", "KEY=new # why\r\n"),
        ("KEY='old'#why\n", "KEY='new'#why\n"),
        # To compose that is no comment: it is the end, or the whole, of a secret.
        ("KEY=old\t#secret\n", "KEY=new\n"),
        ("KEY= #secret\n", "KEY= new\n"),
        ("KEY=o\rld\nB=2\n", "KEY=new\nB=2\n"),
        ("KEY=first # a\n\n# b\n\nKEY: 'old'\nKEY_2=c\n", None),
    ],
)
def test_nothing_but_the_value_changes(text, expected):
    assert assigned(text, "KEY", "new") == (expected or text.replace("old", "new"))


LINES = st.sampled_from(
    [
        "# it's a comment",
        "",
        "  ",
        "A=1",
        "A = two # c",
        "export B='x\r\ny' # c",
        "NAME",
        'C: "KEY=1\n\nKEY=2"',
        "KEY=earlier",
        "KEY: 'earlier\n'",
        "D=x\ry\t",
    ]
)
ENDS = st.sampled_from(["\n", "\r\n"])
AROUND = st.lists(st.builds("{}{}".format, LINES, ENDS), max_size=5).map("".join)
OLD = st.sampled_from(["", "old", "o l d", '"old"', "'old\n\nold'", '"\\"old\r\n # old"', "$A"])


@given(AROUND, st.sampled_from(["KEY=", "export KEY=", "KEY: "]), OLD, ENDS, AROUND)
def test_all_around_the_value_stays_byte_for_byte(before, head, old, end, after):
    if "KEY" in after.replace('C: "KEY=1\n\nKEY=2"', ""):
        after = ""
    edited = template(
        f"{before}{head}{old} # comment{end}{after}" if old else f"{before}{head}{end}"
    )
    edited.assign("KEY", "new password's")
    tail = f" # comment{end}{after}" if old else end
    assert edited.text == f'{before}{head}"new password\'s"{tail}'


def test_a_name_alone_that_counts_is_followed_by_an_assignment():
    edited = template("KEY=old\nKEY\n", KEY="shell")
    edited.assign("KEY", "new")
    assert edited.text == "KEY=old\nKEY\n\n# Added by owctl setup.\nKEY=new\n"


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=30))
def test_any_line_of_text_survives_quoting_or_is_refused(value):
    edited = template("A=1\nKEY=old\n")
    try:
        edited.assign("KEY", value)
    except ConfigurationError:
        return
    assert parse_environment(edited.text, {}, ".env").values["KEY"] == value


@pytest.mark.parametrize(
    "value", ["a b", "a#b", "pa$$word", "it's", 'say "x"', "back\\slash", "$A"]
)
def test_awkward_values_are_kept(value):
    text = f"KEY={quoted(value)}\n"
    assert parse_environment(text, {}, ".env").values["KEY"] == value


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "DATABASE_URL=postgresql://postgres:postgres@localhost:5432/openwebui\n",
            "DATABASE_URL=postgresql://postgres:new@localhost:5432/openwebui\n",
        ),
        (
            'DATABASE_URL="postgresql://u:postgres@postgres/db" # local\n',
            'DATABASE_URL="postgresql://u:new@postgres/db" # local\n',
        ),
        (
            'DATABASE_URL: "postgresql://u:postgres@postgres/db\n?x=1" # local\r\nA=1\r\n',
            'DATABASE_URL: "postgresql://u:new@postgres/db\n?x=1" # local\r\nA=1\r\n',
        ),
        (
            "export DATABASE_URL='\npostgresql://u:postgres@postgres/db\n'\nA=1\n",
            "export DATABASE_URL='\npostgresql://u:new@postgres/db\n'\nA=1\n",
        ),
        ("DATABASE_URL=postgresql://u:postgres@db.example.org/db\n", None),
        ("DATABASE_URL=postgresql://u:own@postgres/db\n", None),
        ("DATABASE_URL=postgresql://u:${POSTGRES_PASSWORD}@postgres/db\n", None),
        ("DATABASE_URL=sqlite:///data.db\n", None),
        ("# DATABASE_URL=postgresql://postgres:postgres@localhost/x\n", None),
    ],
)
def test_passwords_inside_addresses_follow(line, expected):
    edited = EnvironmentTemplate(line, ".env", {"POSTGRES_PASSWORD": "postgres"})
    edited.assign_url_password("DATABASE_URL", lambda password: password == "postgres", "new")
    assert edited.text == (expected or line)


def test_references_are_told_from_values():
    edited = template("A=$B\nC='$B'\nD=plain\n", B="x")
    assert edited.is_reference("A")
    assert not edited.is_reference("C")
    assert not edited.is_reference("D")
    assert not edited.is_reference("MISSING")


def test_syntax_errors_name_every_line():
    with pytest.raises(ConfigurationError) as caught:
        template("A=1\nnonsense here\nB='open\n")
    assert [problem.line for problem in caught.value.problems] == [2, 3]


def test_what_is_no_text_file_is_refused(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ConfigurationError, match="is a folder"):
        read_template(folder, ".env")
    latin = tmp_path / "latin"
    latin.write_bytes(b"A=1\nB=\xe4\n")
    with pytest.raises(ConfigurationError, match=r"\.env:2 is not UTF-8"):
        read_template(latin, ".env")
    with pytest.raises(OwctlError, match="No such file"):
        read_template(tmp_path / "missing", ".env")
