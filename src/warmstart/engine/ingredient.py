"""What all ingredients share: a name, and the arguments they were made with."""

from __future__ import annotations

import inspect


class Ingredient:
    """One idea with its parameters; the file's name is its name everywhere.

    arguments: what the constructor was called with, by parameter name, defaults left out.
    """

    arguments: dict

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        if cls.__init__ is object.__init__:
            self.arguments = {}
        else:
            bound = inspect.signature(cls.__init__).bind(self, *args, **kwargs).arguments
            self.arguments = dict(list(bound.items())[1:])
        return self

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def describe(self) -> dict:
        """{name: {parameter: value}}, as a recipe writes it; slots are described in turn."""
        return {self.name: {key: _plain(value) for key, value in self.arguments.items()}}


def _plain(value):
    if isinstance(value, Ingredient):
        return value.describe()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
