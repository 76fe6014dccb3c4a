"""Many numbers as one parameter of a statement."""

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Text,
    TypeDecorator,
    bindparam,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeEngine


class _Numbers(TypeDecorator[list[int]]):
    impl = Text  # type: ignore[mutable-override]
    cache_ok = True  # type: ignore[mutable-override]

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        shared = dialect.name == "postgresql"
        return dialect.type_descriptor(ARRAY(BigInteger) if shared else Text())

    def process_bind_param(self, value: list[int] | None, dialect: Dialect) -> Any:  # noqa: ANN401
        return value if dialect.name == "postgresql" else json.dumps(value)


class among_numbers(GenericFunction[bool]):  # noqa: N801  # a SQL function, named like one
    """Whether a number is one of many."""

    inherit_cache = True
    name = "among_numbers"


@compiles(among_numbers, "sqlite")
def _in_json(element: among_numbers, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    number, numbers = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{number} IN (SELECT value FROM json_each({numbers}))"  # noqa: S608  # names and marks


@compiles(among_numbers, "postgresql")
def _is_any(element: among_numbers, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    number, numbers = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{number} = ANY ({numbers})"


def among(number: ColumnElement[int], numbers: list[int]) -> ColumnElement[bool]:
    """Whether `number` is one of `numbers`, however many they are."""
    return among_numbers(number, bindparam(None, numbers, type_=_Numbers()))
