"""What the rules keep: for every set of backups, and across the ends of weeks, months and years."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from owctl.backup.retention import Candidate, Rules, decide

FULL = frozenset({"db", "files", "config"})
START = datetime(2024, 11, 1, tzinfo=UTC)

rules_given = st.builds(Rules, *(st.integers(0, 4) for _ in range(4))).filter(bool)
candidates_given = st.lists(
    st.builds(
        Candidate,
        id=st.integers(0, 10**6).map(str),
        created_at=st.integers(0, 24 * 120).map(lambda hours: START + timedelta(hours=hours)),
        condition=st.sampled_from(["sound"] * 4 + ["unverified", "broken", "untouchable"]),
        parts=st.sampled_from([FULL, FULL, FULL | {"redis"}, frozenset({"db"}), frozenset()]),
    ),
    unique_by=lambda each: each.id,
    max_size=40,
)


def kept(candidates, rules, **options):
    return [v.candidate for v in decide(candidates, rules, **options) if v.keep]


def at(*texts: str) -> list[Candidate]:
    return [Candidate(text, datetime.fromisoformat(text), parts=FULL) for text in texts]


def ids(candidates) -> list[str]:
    return [each.id for each in candidates]


@given(candidates_given, rules_given, st.booleans())
def test_the_newest_sound_backup_of_everything_it_holds_stays(candidates, rules, remove_broken):
    left = kept(candidates, rules, remove_broken=remove_broken)
    for one in candidates:
        covering = [c for c in candidates if c.condition == "sound" and c.parts >= one.parts]
        if covering:
            assert max(covering, key=lambda c: (c.created_at, c.id)) in left


@given(candidates_given, rules_given, st.booleans())
def test_only_what_is_known_goes_and_broken_ones_only_when_asked(candidates, rules, remove_broken):
    left = kept(candidates, rules, remove_broken=remove_broken)
    any_sound = any(each.condition == "sound" for each in candidates)
    for each in candidates:
        if each.condition in ("unverified", "untouchable"):
            assert each in left
        if each.condition == "broken":
            assert (each in left) != (remove_broken and any_sound)


@given(candidates_given, rules_given)
def test_unsound_ones_do_not_count(candidates, rules):
    sound = [each for each in candidates if each.condition == "sound"]
    assert kept(sound, rules) == [c for c in kept(candidates, rules) if c.condition == "sound"]


@given(candidates_given, rules_given)
def test_a_second_time_removes_nothing_more(candidates, rules):
    once = kept(candidates, rules, remove_broken=True)
    assert kept(once, rules, remove_broken=True) == once


@given(candidates_given, rules_given, st.sampled_from(["last", "daily", "weekly", "monthly"]))
def test_a_larger_number_keeps_all_that_a_smaller_one_keeps(candidates, rules, name):
    more = replace(rules, **{name: getattr(rules, name) + 1})
    assert set(kept(candidates, rules)) <= set(kept(candidates, more))


@given(candidates_given, rules_given, rules_given)
def test_the_rules_are_a_union(candidates, first, second):
    names = ("last", "daily", "weekly", "monthly")
    both = Rules(*(max(getattr(first, name), getattr(second, name)) for name in names))
    together = set(kept(candidates, first)) | set(kept(candidates, second))
    assert together == set(kept(candidates, both))


@given(candidates_given)
def test_without_a_rule_everything_stays(candidates):
    assert len(kept(candidates, Rules())) == len(candidates)


@given(candidates_given, rules_given, st.randoms())
def test_the_order_in_which_they_are_found_does_not_matter(candidates, rules, dice):
    shuffled = list(candidates)
    dice.shuffle(shuffled)
    assert decide(shuffled, rules) == decide(candidates, rules)


def test_the_last_ones():
    found = at("2025-01-01", "2025-01-03", "2025-01-02")
    found = [replace(each, created_at=each.created_at.replace(tzinfo=UTC)) for each in found]
    assert ids(kept(found, Rules(last=2))) == ["2025-01-03", "2025-01-02"]


def test_the_newest_of_each_of_the_last_days_that_have_one():
    found = at(
        "2025-01-09T23:59:59+00:00",
        "2025-01-09T00:00:00+00:00",
        "2025-01-05T10:00:00+00:00",
        "2025-01-05T09:00:00+00:00",
        "2025-01-01T10:00:00+00:00",
    )
    assert ids(kept(found, Rules(daily=2))) == [found[0].id, found[2].id]


def test_a_day_is_one_of_utc():
    # 23:30 in New York is the next day in UTC.
    found = at("2025-01-01T23:30:00-05:00", "2025-01-02T12:00:00+00:00")
    assert ids(kept(found, Rules(daily=5))) == [found[1].id]
    assert found[0].created_at.astimezone(UTC).day == 2


def test_a_week_goes_on_over_the_end_of_a_year():
    # Monday to Sunday of one ISO week, and the Monday after it.
    found = at(
        "2024-12-30T01:00:00+00:00",
        "2025-01-01T01:00:00+00:00",
        "2025-01-05T23:00:00+00:00",
        "2025-01-06T01:00:00+00:00",
    )
    assert ids(kept(found, Rules(weekly=9))) == [found[3].id, found[2].id]
    # The 53rd week of 2020 has days of 2021.
    found = at("2020-12-31T01:00:00+00:00", "2021-01-03T01:00:00+00:00")
    assert ids(kept(found, Rules(weekly=9))) == [found[1].id]


def test_months_of_different_years_are_different_months():
    found = at(
        "2024-01-31T01:00:00+00:00", "2025-01-01T01:00:00+00:00", "2025-01-31T01:00:00+00:00"
    )
    assert ids(kept(found, Rules(monthly=2))) == [found[2].id, found[0].id]
    assert ids(kept(found, Rules(monthly=1))) == [found[2].id]


def test_a_part_of_a_backup_pushes_no_whole_one_out():
    whole, part = at("2025-01-01T00:00:00+00:00", "2025-01-02T00:00:00+00:00")
    part = replace(part, parts=frozenset({"config"}))
    assert kept([whole, part], Rules(last=1)) == [part, whole]
    # The other way round it may: a newer whole one has all that the part has.
    whole = replace(whole, created_at=part.created_at + timedelta(days=1))
    assert kept([whole, part], Rules(last=1)) == [whole]


def test_the_reasons_are_told():
    found = at("2025-01-01T00:00:00+00:00", "2025-01-02T00:00:00+00:00")
    found.append(
        Candidate("x", found[0].created_at, condition="broken", parts=FULL, note="a bit flipped")
    )
    reasons = {v.candidate.id: v.reason for v in decide(found, Rules(last=1, monthly=1))}
    assert reasons[found[1].id] == "last, monthly"
    assert reasons[found[0].id] == "no rule keeps it"
    assert reasons["x"] == "a bit flipped"


@given(candidates_given, rules_given)
def test_the_one_that_was_just_made_stays(candidates, rules):
    for each in candidates:
        assert each in kept(candidates, rules, made=each.id)
    # It takes no other's place by that.
    assert all(each in kept(candidates, rules, made="x") for each in kept(candidates, rules))


def test_one_of_the_future_stays_and_takes_no_place():
    future = replace(at("2131-01-01T00:00")[0], condition="future")
    real = at("2026-01-01T00:00", "2026-01-02T00:00")
    assert ids(kept([future, *real], Rules(last=1))) == [future.id, real[1].id]
    assert kept([future], Rules(last=1), remove_broken=True) == [future]
