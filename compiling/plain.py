"""Dataclasses as plain classes, line for line: what mypyc makes a fast class of.

mypyc keeps the constructor that :mod:`dataclasses` writes, which is interpreted and finds every field by its name. The
same class with its methods written out has a constructor and a comparison in C. Only the text that is compiled is
rewritten; the source stays as it is, and is what runs where nothing is compiled. Statements keep their lines, so that
tracebacks name lines of the source. That a frozen value is not assigned to is checked by mypy and by the tests of the
source: the plain class does not check it again.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

# Options of ``dataclass`` that are known here; a class with others is left as it is.
_OPTIONS = {"frozen", "slots", "eq"}
# Patterns ask a class for its names, and ``dataclasses.replace``, ``fields`` and ``asdict`` for its fields.
_CLASS = (
    "__match_args__: typing.Final = {taken}; "
    "__dataclass_fields__: typing.ClassVar[dict[str, typing.Any]] = {{name: one for name in {names} "
    "for one in [dataclasses.field()] if setattr(one, 'name', name) is setattr(one, '_field_type', _KIND_OF_FIELD)}}"
    "  # type: ignore"
)
_IMPORTS = "; import dataclasses; import typing; _KIND_OF_FIELD: typing.Any = vars(dataclasses)['_FIELD']"


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: str
    default: str | None  # what the constructor has where nothing is given
    made: str | None  # what is made anew then
    taken: bool  # by the constructor


def rewrite(text: str) -> str:
    """``text`` of a module with its dataclasses as plain classes; every other statement is where it was."""
    body = ast.parse(text).body
    classes = [node for node in body if isinstance(node, ast.ClassDef) and _is_known(node)]
    if not classes:
        return text
    lines = text.split("\n")
    for node in classes:
        behind = min((_first_line(other) for other in body if other.lineno > node.lineno), default=None)
        _write_out(node, lines, behind)
    ahead = next(number for number, line in enumerate(lines) if line.startswith("from __future__"))
    lines[ahead] += _IMPORTS
    return "\n".join(lines)


def _options(node: ast.ClassDef) -> dict[str, bool] | None:
    """What the one decorator says; None where this is no dataclass, or one with options that are not known here."""
    if len(node.decorator_list) != 1:
        return None
    match node.decorator_list[0]:
        case ast.Call(func=ast.Name(id="dataclass"), args=[], keywords=keywords):
            said = {str(word.arg): ast.unparse(word.value) == "True" for word in keywords}
            return said if _OPTIONS.issuperset(said) else None
        case ast.Name(id="dataclass"):
            return {}
    return None


def _is_known(node: ast.ClassDef) -> bool:
    calls = [one.value for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.value, ast.Call)]
    words = {str(word.arg) for call in calls if ast.unparse(call.func) == "field" for word in call.keywords}
    return _options(node) is not None and words <= {"default", "default_factory", "init"}


def _first_line(node: ast.stmt) -> int:
    return min((one.lineno for one in getattr(node, "decorator_list", ())), default=node.lineno)


def _write_out(node: ast.ClassDef, lines: list[str], behind: int | None) -> None:
    """Put a plain class in the lines of ``node``, of which ``behind`` is the first that follows it, if any does."""
    fields = [_field(one) for one in node.body if isinstance(one, ast.AnnAssign) and not _is_of_class(one)]
    others = [one for one in node.body if not isinstance(one, ast.AnnAssign) and not _is_docstring(one)]
    if behind is None:  # nothing follows that could lose its line
        lines += [""] * 8
        behind = len(lines)
    first, last = _first_line(node), min((_first_line(one) for one in others), default=behind)
    kept = [ast.unparse(one) for one in node.body if isinstance(one, ast.AnnAssign) and _is_of_class(one)]
    options = _options(node) or {}
    written = [f"class {node.name}({', '.join(map(ast.unparse, node.bases))}):"]
    written += [f"    {line}" for line in _members(node.name, kept, fields, options, others)]
    if len(written) == last - first + 1 and "def __repr__" in written[-1]:
        written.pop()  # no room: it is shown as any object is
    if len(written) > last - first:
        raise ValueError(f"line {first}: class {node.name} has {last - first} lines, its plain form {len(written)}")
    lines[first - 1 : last - 1] = written + [""] * (last - first - len(written))


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_of_class(node: ast.AnnAssign) -> bool:
    return "ClassVar" in ast.unparse(node.annotation)


def _field(node: ast.AnnAssign) -> _Field:
    name, kind = ast.unparse(node.target), ast.unparse(node.annotation)
    match node.value:
        case None:
            return _Field(name, kind, None, None, True)
        case ast.Call(func=ast.Name(id="field"), keywords=keywords):
            said = {str(word.arg): ast.unparse(word.value) for word in keywords}
            made = next((_called(word.value) for word in keywords if word.arg == "default_factory"), None)
            return _Field(name, kind, said.get("default"), made, said.get("init") != "False")
        case value:
            return _Field(name, kind, ast.unparse(value), None, True)


def _called(factory: ast.expr) -> str:
    return f"({ast.unparse(factory.body)})" if isinstance(factory, ast.Lambda) else f"{ast.unparse(factory)}()"


def _members(
    name: str, kept: list[str], fields: list[_Field], options: dict[str, bool], others: list[ast.stmt]
) -> list[str]:
    """The members of the plain class, ``kept`` among them, a line each; what has no block shares the first."""
    defined = {one.name for one in others if isinstance(one, ast.FunctionDef)}
    names = tuple(one.name for one in fields)
    taken = tuple(one.name for one in fields if one.taken)
    members = [
        "; ".join((*kept, *(f"{one.name}: {one.kind}" for one in fields), _CLASS.format(taken=taken, names=names)))
    ]
    body = [f"self.{one.name} = {_value(one)}" for one in fields if one.taken or one.made or one.default]
    body += ["self.__post_init__()"] if "__post_init__" in defined else []
    members.append(f"def __init__(self{''.join(map(_parameter, fields))}) -> None: {'; '.join(body) or 'pass'}")
    if options.get("eq", True) and "__eq__" not in defined:
        same = "".join(f" and self.{one} == other.{one}" for one in names)
        members.append(
            f"def __eq__(self, other: object) -> bool: return self is other or (isinstance(other, {name}){same})"
        )
    if options.get("eq", True) and options.get("frozen") and "__hash__" not in defined:
        members.append(f"def __hash__(self) -> int: return hash(({''.join(f'self.{one}, ' for one in names)}))")
    if "__repr__" not in defined:
        shown = ", ".join(f"{one}={{self.{one}!r}}" for one in names)
        members.append(f'def __repr__(self) -> str: return f"{name}({shown})"')
    return members


def _parameter(one: _Field) -> str:
    if not one.taken:
        return ""
    if one.made is not None:
        return f", {one.name}: {one.kind} | None = None"
    return f", {one.name}: {one.kind}" + ("" if one.default is None else f" = {one.default}")


def _value(one: _Field) -> str:
    if one.made is None:
        return one.name if one.taken else str(one.default)
    return f"{one.made} if {one.name} is None else {one.name}" if one.taken else one.made
