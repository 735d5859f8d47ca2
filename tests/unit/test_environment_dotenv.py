"""Environment files, by compose's rules."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from owctl.environment.dotenv import (
    parse_environment,
    read_environment_file,
    split_statements,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b", "b"),
        ("A = b ", "b"),
        ("  export A=b", "b"),
        ("A: b", "b"),
        ("A=", ""),
        ("A=two words # comment", "two words"),
        ("A=b#c", "b#c"),
        ("A='$B \\n # x' # comment", "$B \\n # x"),
        ('A="$B\\n\\"x\\" \\$B" # comment', 'b\n"x" $B'),
        ("A=$B/${C:-c}/$$", "b/c/$"),
        ('A="one\ntwo $B"', "one\ntwo b"),
        ("A='one\ntwo'", "one\ntwo"),
        ("A=b\r\n", "b"),
        ("A=a=b==c", "a=b==c"),
        ("# comment\n\n\nA=b\n#A=c", "b"),
        ("A=1\nA=2", "2"),
        ("A=C:\\path\\n", "C:\\path\\n"),
        ("A='it\\'s'", "it's"),
        ("X=${B}\nA=$X", "b"),
        ("B=file\nA=$B", "b"),
        # What python-dotenv splits otherwise than compose.
        ('A: "one\ntwo"', "one\ntwo"),
        ("A : 'one\n\n# two'\nC=1", "one\n\n# two"),
        ("A=one\rA=two", "one\rA=two"),
        ("# a\rA=c\nA=b", "b"),
        ("A= # b", "# b"),
        ("C='\nA=b\n'\nA=c", "c"),
        ("C:D='one\nA=b", "b"),
        ('A="one\r\ntwo"\r\nB=1\r\n', "one\r\ntwo"),
        ("export\nA=b", "b"),
        ("export A : b", "b"),
        ("export\fA=b", "b"),
        ("\x85A\v=\xa0b\u2003", "b"),
        ("A=\u2003b\x1c", "\u2003b\x1c"),
        ("A=b\t# c", "b\t# c"),
        ("A='b'\t# c", "b"),
        ('A="\\0101 \\0377 \\0777 \\01 \\0 \\08 \\00411"', "A \xff \\777 \\1 \\ \\8 !1"),
        ('A="\\a\\b\\f\\n\\r\\t\\v\\c\\q\\x41"', "\a\b\f\n\r\t\v\\c\\q\\x41"),
        ("A='b\\\\'", "b\\\\"),
        ('A="b\\\\"', "b\\"),
        ('A="b\\\nc"', "b\\\nc"),
    ],
)
def test_values(text: str, expected: str) -> None:
    result = parse_environment(text, {"B": "b"}, ".env")
    assert result.problems == []
    assert result.values["A"] == expected


def test_a_name_alone_takes_the_value_of_the_environment() -> None:
    result = parse_environment("A\nB\nexport C\n", {"A": "a", "C": "c"}, ".env")
    assert result.values == {"A": "a", "C": "c"}


def test_lines_and_unset_variables() -> None:
    result = parse_environment("# x\nA=1\n\nM='x\ny'\nB=$NO", {}, ".env")
    assert result.lines == {"A": 2, "M": 4, "B": 6}
    assert result.unset == ["NO"]


def test_all_problems_are_found_and_no_value_is_shown() -> None:
    text = "A b=secret\n=secret\nOK=1\nB=se${cret\nC='x' secret\nD=${E:?needed}\nF='secret\n"
    result = parse_environment(text, {}, ".env")
    assert [str(problem) for problem in result.problems] == [
        ".env:1: is not of the form NAME=value",
        ".env:2: is not of the form NAME=value",
        ".env:4: B has a $ that begins no variable; write $$, or put it in single quotes",
        ".env:5: has text after the closing quote",
        ".env:6: required variable E is missing a value: needed",
        ".env:7: the quoted value of F has no end",
    ]
    assert result.values["OK"] == "1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C=1\nA='x' B=2\n", ".env:2: has text after the closing quote"),
        ('A="${"b\n', ".env:1: has text after the closing quote"),
        ('A="${"b\n', ".env:1: A has a $ that begins no variable"),
        ('A="x""y"\nB=2', ".env:1: has text after the closing quote"),
        ("\n\nA\tB=1", ".env:3: is not of the form NAME=value"),
        ("export =x", ".env:1: is not of the form NAME=value"),
        ("'A'=x", ".env:1: is not of the form NAME=value"),
        ("'A\nC=1\nB'=x", ".env:3: is not of the form NAME=value"),
        ("\x1cA=x", ".env:1: is not of the form NAME=value"),
        ("\ufeff\ufeffA=x", ".env:1: is not of the form NAME=value"),
        ("\r\rB: 'x\nC=1\n", ".env:1: the quoted value of B has no end"),
        ("C=1\r\nB: 'x\\'\r\nC=1\r\n", ".env:2: the quoted value of B has no end"),
        ('C=1\nB="x\\"', ".env:2: the quoted value of B has no end"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, message: str) -> None:
    result = parse_environment(text, {}, ".env")
    assert any(str(problem).startswith(message) for problem in result.problems)
    assert result.values.get("C", "1") == "1"


def test_nothing_is_set_by_export_alone() -> None:
    result = parse_environment("export\nexport \n", {"export": "x", "": "y"}, ".env")
    assert (result.values, result.problems) == ({}, [])


def test_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfA=b")
    assert read_environment_file(tmp_path / ".env", {}).values == {"A": "b"}


@pytest.mark.parametrize(
    ("data", "message"), [(b"A=1\nB=\xff", ":2: is not UTF-8 text"), (b"A=\0", ":1: has a null")]
)
def test_files_that_are_no_text(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / ".env").write_bytes(data)
    (problem,) = read_environment_file(tmp_path / ".env", {}).problems
    assert message in str(problem)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        (problem,) = read_environment_file(path, {}).problems
        assert "cannot be read" in problem.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_permission_denied(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1")
    path.chmod(0)
    (problem,) = read_environment_file(path, {}).problems
    assert "permission denied" in problem.message


def test_values_stay_out_of_the_repr() -> None:
    assert "secret" not in repr(parse_environment("A=secret", {}, ".env"))


@given(st.text(st.characters(exclude_characters="'\\\r\0", exclude_categories=["Cs"])))
def test_single_quotes_keep_any_text(value: str) -> None:
    result = parse_environment(f"A='{value}'\nB=1", {}, ".env")
    assert result.values == {"A": value, "B": "1"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_parsed_or_refused_with_lines(text: str) -> None:
    result = parse_environment(text, {}, ".env")
    last = text.replace("\r\n", "\n").count("\n") + 1
    assert all(1 <= problem.line <= last for problem in result.problems)
    assert all(1 <= line <= last for line in result.lines.values())


PIECES = [
    "A",
    "=",
    ":",
    "'",
    '"',
    "\\",
    "\n",
    "\r",
    " ",
    "#",
    "export ",
    "\ufeff",
    "\u2003",
    "x",
    "$",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_statements_are_the_whole_text_and_each_problem_has_its_line(text: str) -> None:
    statements = list(split_statements(text))
    assert "".join(statement.text for statement in statements) == text
    assert all(statement.text for statement in statements)
    found = parse_environment(text, {}, ".env")
    assert {each.line for each in statements if each.problem} <= {
        each.line for each in found.problems
    }


@pytest.mark.parametrize(
    "line",
    [
        "KEY_{}=value $KEY_1 # c\n",
        'KEY_{}: "two\nlines"\n',
        "one\r",
        "no assignment at all\n",
        "A=" + " " * 50,
        '\\"\n',
        "'\n",
    ],
)
def test_the_time_grows_with_the_text_alone(line: str) -> None:
    def seconds(count: int) -> float:
        text = 'A: "' + "".join(line.replace("{}", str(number)) for number in range(count))
        rounds = []
        for _ in range(3):  # the best of them: other processes only ever make it slower
            start = time.process_time()
            parse_environment(text, {}, ".env")
            rounds.append(time.process_time() - start)
        return min(rounds)

    seconds(10)
    # Ten times the text, ten times the time; a hundred times if it were quadratic.
    assert seconds(10_000) < 40 * max(seconds(1_000), 0.005)
