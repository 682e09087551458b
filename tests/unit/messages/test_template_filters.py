from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.messages import filters
from ml_event_provider.messages.plain import size

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (65, "1 min 5 s"),
        (119.6, "2 min"),
        (3599.7, "1 h"),
        (3660, "1 h 1 min"),
        (7199, "2 h"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
        (86_399, "1 d"),
        (1e7, "115 d 18 h"),
        (-65, "-1 min 5 s"),
        (None, None),
        ("later", "later"),
        (True, True),
        (float("inf"), float("inf")),
    ],
)
def test_duration(seconds: object, expected: object) -> None:
    assert filters.duration(seconds) == expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-22T06:00:59.999999+00:00", "2026-11-22 06:00 UTC"),
        ("2026-11-22T06:00:00Z", "2026-11-22 06:00 UTC"),
        ("2026-11-22T06:00:00.123456789Z", "2026-11-22 06:00 UTC"),
        ("2026-11-22T08:30:00+02:30", "2026-11-22 06:00 UTC"),
        ("2026-11-22T06:00:00", "2026-11-22 06:00 UTC"),
        (datetime(2026, 11, 22, 7, tzinfo=timezone(timedelta(hours=1))), "2026-11-22 06:00 UTC"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "0001-01-01T00:00:00+01:00"),
        ("soon", "soon"),
        (None, None),
        (1763791200, 1763791200),
    ],
)
def test_when(moment: object, expected: object) -> None:
    assert filters.when(moment) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.31415, "0.314"),
        (12480, "12,480"),
        (3.0, "3"),
        (1234.56, "1,235"),
        (1e20, "100,000,000,000,000,000,000"),
        ("x", "x"),
        (1e-7, "1e-07"),
    ],
)
def test_number(value: object, expected: object) -> None:
    assert filters.number(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.4, "40%"), (1, "100%"), (0.0312, "3.12%"), (None, None)])
def test_percent(value: object, expected: object) -> None:
    assert filters.percent(value) == expected


def test_lines_keep_the_ends() -> None:
    text = "\n".join(str(number) for number in range(20))
    assert filters.lines(text, 6) == "0\n1\n… 15 lines …\n17\n18\n19"
    assert filters.lines("a\nb\n") == "a\nb"


@pytest.mark.parametrize(
    ("exception", "expected"),
    [
        ({"type": "builtins.ValueError", "message": "bad\nvalue"}, "ValueError: bad value"),
        ({"type": "KeyboardInterrupt", "message": ""}, "KeyboardInterrupt"),
        ({"message": "only words"}, "only words"),
        ({}, None),
        ("text", "text"),
        (None, None),
    ],
)
def test_failure(exception: object, expected: object) -> None:
    assert filters.failure(exception) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [([1], [1]), ((1,), [1]), ("a", ["a"]), ("", []), (None, []), ({"a": 1}, []), (0, [0])],
)
def test_listed(value: object, expected: object) -> None:
    assert filters.listed(value) == expected


def _traceback(*frames: tuple[str, str, str]) -> str:
    lines = [f'  File "{path}", line 3, in {name}\n    {code}\n' for path, name, code in frames]
    return "Traceback (most recent call last):\n" + "".join(lines) + "ValueError: x\n"


LIBRARY = "/usr/lib/python3.11/site-packages/lib/core.py"


def test_frames_are_the_users_and_the_last() -> None:
    text = _traceback((LIBRARY, "run", "f()"), ("/opt/airflow/dags/a/b.py", "f", "g()"), (LIBRARY, "g", "raise"))
    assert filters.frames(text) == "dags/a/b.py:3 in f\n    g()\nlib/core.py:3 in g\n    raise"


def test_frames_of_deep_recursion_are_few() -> None:
    text = _traceback(*[("/home/me/job.py", "f", "f()")] * 900)
    assert filters.frames(text) == "\n".join(["home/me/job.py:3 in f\n    f()"] * 6)


def test_frames_of_a_library_alone_are_its_last() -> None:
    assert filters.frames(_traceback((LIBRARY, "run", "f()"))) == "lib/core.py:3 in run\n    f()"


def test_frames_are_of_the_last_exception_of_a_chain() -> None:
    chain = (
        _traceback(("/dags/first.py", "f", "g()"))
        + "\nDuring handling of the above exception, another exception occurred:\n\n"
        + _traceback(("/dags/second.py", "h", "i()"))
    )
    assert filters.frames(chain) == "dags/second.py:3 in h\n    i()"


def test_marks_under_the_code_are_left_out() -> None:
    text = _traceback(("/dags/a.py", "f", "g(1)\n    ~^^^"))
    assert filters.frames(text) == "dags/a.py:3 in f\n    g(1)"


def test_other_tracebacks_give_their_last_lines() -> None:
    assert filters.frames("\n".join(map(str, range(30)))) == "\n".join(map(str, range(18, 30)))
    assert filters.frames("") is None


@given(value=anything)
@pytest.mark.parametrize("name", filters.FILTERS)
def test_filters_take_anything(name: str, value: object) -> None:
    filters.FILTERS[name](value)


@given(text=st.text(), limit=st.integers(5, 50))
def test_cut_keeps_its_limit(text: str, limit: int) -> None:
    assert size(filters.cut(text, limit)) <= limit


def test_when_agrees_with_the_clock_of_utc() -> None:
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert filters.when(now) == filters.when(now.isoformat()) == "2026-01-02 03:04 UTC"
