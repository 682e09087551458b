"""An option that is given twice adds up or is refused: none replaces another in silence."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import pytest
from airflow.cli.cli_config import Arg, GroupCommand

from ml_event_provider.cli.definition import get_commands
from ml_event_provider.cli.options import Once, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def commands(group: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for one in group:
        name = f"{prefix} {one.name}".strip()
        if isinstance(one, GroupCommand):
            yield from commands(one.subcommands, name)
        else:
            yield name, one


OPTIONS = [
    pytest.param(arg, id=f"{name} {arg.flags[-1]}")
    for name, command in commands(get_commands())
    for arg in command.args
    if arg.flags[0].startswith("-")
]


def example(arg: Arg, number_: int) -> list[str]:
    """The option as it is given the ``number_``-th time."""
    kwargs = arg.kwargs
    if kwargs.get("action") == "store_true":
        return [arg.flags[-1]]
    if "choices" in kwargs:
        return [arg.flags[-1], kwargs["choices"][number_ % len(kwargs["choices"])]]
    return [arg.flags[-1], str(number_ + 1)]


def parsed(arg: Arg, words: list[str]) -> Any:
    parser = argparse.ArgumentParser(exit_on_error=False)
    arg.add_to_parser(parser)
    namespace = vars(parser.parse_args(words))
    namespace.pop("given_once", None)
    (value,) = namespace.values()
    return value


@pytest.mark.parametrize("arg", OPTIONS)
def test_an_option_given_twice_adds_up_or_is_refused(arg: Arg) -> None:
    first, second = example(arg, 0), example(arg, 1)
    match arg.kwargs["action"]:
        case "store_true":
            assert parsed(arg, first + second) is True
        case "append" | "extend":
            assert parsed(arg, first + second) == [first[1], second[1]]
        case action:
            assert action is Once
            assert str(parsed(arg, first)) == first[1]
            with pytest.raises(argparse.ArgumentError, match="is given twice; it takes one value"):
                parsed(arg, first + second)


@pytest.mark.parametrize("arg", [one for one in OPTIONS if one.values[0].kwargs["action"] in ("append", "extend")])
def test_values_do_not_stay_from_one_command_to_the_next(arg: Arg) -> None:
    parsed(arg, example(arg, 0))
    assert parsed(arg, example(arg, 1)) == [example(arg, 1)[1]]


NUMBERS = [
    arg for _, command in commands(get_commands()) for arg in command.args if arg.kwargs.get("type") not in (None, str)
]


def test_there_are_numbers() -> None:
    assert {arg.kwargs["type"] for arg in NUMBERS} == {number}


@pytest.mark.parametrize("text", ["-5", "0", "2147483648", "1e3", "", "x"])
def test_a_number_that_makes_no_sense_is_refused_with_the_range(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no number from 1 to 2147483647"):
        number(text)


def test_a_file_option_takes_what_a_shell_makes_of_a_pattern() -> None:
    (files,) = {
        arg.kwargs["action"]: arg
        for name, command in commands(get_commands())
        if name == "ml-events rules apply"
        for arg in command.args
        if "--file" in arg.flags
    }.values()
    assert parsed(files, ["-f", "a", "b", "--file", "c"]) == ["a", "b", "c"]
