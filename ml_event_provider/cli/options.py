"""Kinds of options. One that is given twice either adds up or is refused: none replaces another in silence."""

from __future__ import annotations

from argparse import Action, ArgumentError, ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from airflow.cli.cli_config import Arg

#: Databases have 32 bits for some numbers.
LARGEST = 2**31 - 1


class Once(Action):
    """Stores the one value of an option; a second is an error."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        given = vars(namespace).setdefault("given_once", set())
        if self.dest in given:
            raise ArgumentError(self, f"is given twice; it takes one value (was {getattr(namespace, self.dest)!r})")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def one(*flags: str, help: str, default: Any = "", **more: Any) -> Arg:
    """An option with one value."""
    return Arg(flags, help=help, action=Once, default=default, **more)


def several(*flags: str, help: str, **more: Any) -> Arg:
    """An option that may be given again and again: a list of all its values."""
    return Arg(flags, help=f"{help}; may be given more than once", action="append", default=[], **more)


def listed(*flags: str, help: str, **more: Any) -> Arg:
    """An option with one or more values that may be given again and again: a list of all of them."""
    return Arg(flags, help=help, nargs="+", action="extend", default=[], **more)


def flag(*flags: str, help: str) -> Arg:
    """A switch."""
    return Arg(flags, help=help, action="store_true")


def count(*flags: str, help: str, default: int | None = None, **more: Any) -> Arg:
    """An option that is a number from 1 on."""
    return one(*flags, help=help, default=default, type=number, **more)


def number(text: str) -> int:
    """The number from 1 on that a text is."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= LARGEST:
        raise ArgumentTypeError(f"{text!r} is no number from 1 to {LARGEST}")
    return value
