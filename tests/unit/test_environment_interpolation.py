"""Variables in a text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from owctl.environment.interpolation import InterpolationError, substitute

VARIABLES = {"SET": "value", "EMPTY": "", "OTHER_1": "o"}
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$SET-x", "value-x"),
        ("${SET}x", "valuex"),
        ("[$UNSET][${EMPTY}]", "[][]"),
        ("${UNSET:-d}${EMPTY:-d}${SET:-d}", "ddvalue"),
        ("${UNSET-d}${EMPTY-d}${SET-d}", "dvalue"),
        ("${UNSET:+a}${EMPTY:+a}${SET:+a}", "a"),
        ("${UNSET+a}${EMPTY+a}${SET+a}", "aa"),
        ("${SET:?no}${EMPTY?no}", "value"),
        ("${UNSET:-${EMPTY:-${OTHER_1}}}", "o"),
        ("${SET:+<${UNSET:-y}>}", "<y>"),
        ("${SET:-${UNSET:-is looked at}}", "value"),
        ("$$SET $${SET} $$$SET", "$SET ${SET} $value"),
        ("${UNSET:-$$x}", "$x"),
        ('${UNSET:-{"a": 1}}', '{"a": 1}'),
        ("${UNSET:-a:-b?c+d}", "a:-b?c+d"),
        ('${SET:-{"a": 1}}', "value"),
        ("${UNSET:-{}}", "{}"),
        ("$ $1 a$ $(x)", "$ $1 a$ $(x)"),
        ("no variable", "no variable"),
    ],
)
def test_substitution(template: str, expected: str) -> None:
    assert substitute(template, VARIABLES) == expected


@pytest.mark.parametrize(
    "template", ["${", "${}", "${1}", "${SET", "${SET x}", "${SET:x}", "${UNSET:-two\nlines}"]
)
def test_malformed(template: str) -> None:
    with pytest.raises(InterpolationError) as raised:
        substitute(template, VARIABLES)
    assert raised.value.variable is None


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("${UNSET:?}", "required variable UNSET is missing a value"),
        ("${EMPTY:?set it}", "required variable EMPTY is missing a value: set it"),
        # Also where the word is not used.
        ("${SET:-${UNSET:?no}}", "required variable UNSET is missing a value: no"),
        ("${UNSET:+${UNSET:?no}}", "required variable UNSET is missing a value: no"),
        ("${UNSET?see $OTHER_1}", "required variable UNSET is missing a value: see o"),
    ],
)
def test_required(template: str, message: str) -> None:
    with pytest.raises(InterpolationError, match=f"^{re.escape(message)}$") as raised:
        substitute(template, VARIABLES)
    assert raised.value.variable in ("UNSET", "EMPTY")


def test_unset_variables_are_told_of() -> None:
    seen: list[str] = []
    substitute("$A ${B} ${C:-} ${D+x} ${E:-$F} $SET", VARIABLES, on_unset=seen.append)
    assert seen == ["A", "B", "F"]


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    with pytest.raises(InterpolationError, match="nested"):
        substitute("${A:-" * 5000 + "}" * 5000, {})


def test_errors_do_not_quote_what_may_be_secret() -> None:
    with pytest.raises(InterpolationError) as raised:
        substitute("pa${(ssword", {})
    assert "ssword" not in str(raised.value)


@given(st.text())
def test_doubled_dollars_keep_any_text(text: str) -> None:
    assert substitute(text.replace("$", "$$"), {}) == text


@given(st.text(), NAMES, st.text(), st.text())
def test_values_are_put_in_unread(before: str, name: str, value: str, after: str) -> None:
    template = before.replace("$", "$$") + "${" + name + "}" + after.replace("$", "$$")
    assert substitute(template, {name: value}) == before + value + after


@given(st.text())
def test_any_text_is_replaced_or_refused(text: str) -> None:
    try:
        result = substitute(text, VARIABLES)
    except InterpolationError:
        assert "$" in text
    else:
        assert "$" in text or result == text
