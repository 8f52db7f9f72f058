"""YAML as plain values that remember where they stood in the file.

The messages are our own: a YAML parser's quote the text around a mistake, which may be a password.
"""

from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.config.mistakes import Mistake, spell

Steps = tuple[str | int, ...]
Place = tuple[int, int]
_TAG = "tag:yaml.org,2002:"
_MAX_DEPTH = 50
_PROBLEMS = {
    "tab": "a tab is used where spaces are needed|indent with spaces",
    "'\\t'": "a tab is used where spaces are needed|indent with spaces",
    "undefined alias": "a value starts with *, which means something else in YAML|put the value in quotes",
    "cannot start any token": "a character that can't start a value|put the value in quotes",
    "mapping values are not allowed": "a `: ` where no name can be|quote the value, or correct its indent",
    "could not find expected ':'": "a name without a `:` after it|write `name: value`",
    "expected <block end>": "this line's indentation fits no line above|align it with its siblings",
    "quoted scalar": "a quote is not closed|close it, or leave out both",
    "unknown escape": "a backslash in double quotes|use single quotes, or double the backslash",
    "expected ',' or": "a list or mapping in brackets is not closed|add the missing , ] or }",
    "special characters are not allowed": "a control character|remove it, or write an escape",
}


@dataclass
class Document:
    """A parsed file.

    Attributes:
        data: its mappings, lists and scalars.
        places: line and column (from 1) of every name and list item, by path.
        mistakes: what YAML itself, or this reader, does not accept.
        variables: environment variable that set a path, where one did.
    """

    data: Any = None
    places: dict[Steps, Place] = field(default_factory=dict)
    values: dict[Steps, Place] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    variables: dict[Steps, str] = field(default_factory=dict)

    def report(self, path: Steps, message: str, fix: str) -> None:
        """Add a mistake at a path."""
        self.mistakes.append(self.mistake(path, message, fix))

    def mistake(self, path: Steps, message: str, fix: str, *, at_value: bool = False) -> Mistake:
        """A mistake at a path, at the line of the nearest thing above it that the file has."""
        shown = spell(path)
        for length in range(len(path), -1, -1):
            near = path[:length]
            if variable := self.variables.get(near):
                return Mistake(0, 0, shown, message, fix, variable)
            place = (self.values if at_value else self.places).get(near) or self.places.get(near)
            if place:
                return Mistake(*place, shown, message, fix)
        return Mistake(1, 1, shown, message, fix)


def read_document(text: str) -> Document:
    """Parse a YAML file; what is wrong with it is in `mistakes`, never raised."""
    document = Document(data={}, places={(): (1, 1)})
    try:
        root = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        document.mistakes.append(_syntax(error))
        return document
    except (YAMLError, RecursionError, ValueError):
        document.mistakes.append(Mistake(1, 1, "", "this is not YAML text", "save it as UTF-8 text in YAML"))
        return document
    if root is not None:
        document.data = _value(root, (), document)
    return document


def read_scalar(text: str) -> Any:
    """The value of a scalar or a bracketed list as YAML reads it; text that is not YAML stays text."""
    document = read_document(text)
    return text if document.mistakes or isinstance(document.data, dict) else document.data


def _syntax(error: MarkedYAMLError) -> Mistake:
    mark = error.problem_mark or error.context_mark
    problem = f"{error.context or ''} {error.problem or ''}"
    known = next(
        (text for sign, text in _PROBLEMS.items() if sign in problem),
        f"this is not YAML: {error.problem or error.context}|compare with an example",
    )
    message, _, fix = known.rpartition("|")
    if mark is None:
        return Mistake(1, 1, "", message, fix)
    return Mistake(mark.line + 1, mark.column + 1, "", message, fix)


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _value(node: Node, path: Steps, document: Document) -> Any:
    if len(path) > _MAX_DEPTH:
        document.mistakes.append(
            Mistake(*_place(node), "", "this is nested too deep", "remove the alias that repeats itself")
        )
        return None
    document.values[path] = _place(node)
    if isinstance(node, MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            document.places[(*path, index)] = _place(item)
            items.append(_value(item, (*path, index), document))
        return items
    return _scalar(str(node.tag), _whole(str(node.value), node, path, document))


def _mapping(node: MappingNode, path: Steps, document: Document) -> dict[str, Any]:
    values: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, item in node.value:
        if key.tag == f"{_TAG}merge":
            merged |= _merged(item, path, document)
            continue
        if not isinstance(key, ScalarNode):
            document.mistakes.append(
                Mistake(*_place(key), spell(path), "a name must be text", "put {} or [] in quotes")
            )
            continue
        key.value = _whole(key.value, key, path, document)
        steps = (*path, key.value)
        if key.value in values:
            first = document.places[steps][0]
            shown, fix = spell(steps), "keep one of the two"
            document.mistakes.append(
                Mistake(*_place(key), shown, f"this name is already given at line {first}", fix)
            )
            continue
        document.places[steps] = _place(key)
        values[key.value] = _value(item, steps, document)
    return merged | values


def _merged(node: Node, path: Steps, document: Document) -> dict[str, Any]:
    sources = node.value if isinstance(node, SequenceNode) else [node]
    merged: dict[str, Any] = {}
    for source in reversed(sources):
        value = _value(source, path, document)
        if isinstance(value, dict):
            merged |= value
    return merged


def _whole(text: str, node: Node, path: Steps, document: Document) -> str:
    """Text whose characters beyond 16 bits were escaped as JSON does it, in two halves."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        fix = "write the character itself, or both of its halves"
        document.mistakes.append(Mistake(*_place(node), spell(path), "an escape is half a character", fix))
        return "?"


def _scalar(tag: str, text: str) -> Any:
    tag = tag.removeprefix(_TAG)
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() in ("true", "yes", "on")
    try:
        if tag == "int":
            return int(text.replace("_", ""), 0)
        if tag == "float":
            return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text
    return text
