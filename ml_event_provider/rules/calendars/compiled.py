"""Parts of a rule file that keep compiled forms of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ml_event_provider.rules.fields import Part

if TYPE_CHECKING:
    from collections.abc import Mapping


class Compiled(Part):
    """A part with cached properties; a changed copy makes its own."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with the fields of ``update`` in place of its own, unchecked."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(copied).model_fields.keys():
            del copied.__dict__[name]
        return copied
