"""XML as values, for the CRMs that send it: SOAP and the like.

A body has one reading: it is UTF-8, whatever its first line says. It has no document type, so it
defines no entities and names nothing outside itself.
"""

import re
from typing import Any, Final

# What is built: defusedxml reads.
from xml.etree.ElementTree import Element, TreeBuilder  # nosec B405

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from schemas.depth import MAX_DEPTH
from schemas.errors import BadPayload, TooLarge
from schemas.json_body import MAX_VALUES, not_in_charset

# Characters. Each element has its namespace in its name: 800 kB of it, in 45,000 elements, keep a
# process busy for minutes.
LONGEST_NAMESPACE: Final = 1000

# The name of an element without its namespace, and of the attribute that says that it is null.
_NAMESPACE: Final = re.compile(r"^\{[^}]*\}")
_NIL: Final = "{http://www.w3.org/2001/XMLSchema-instance}nil"
# Characters by their numbers. Some programs write an emoji as its two halves: &#55357;&#56832;
_REFERENCES: Final = re.compile(r"(?:&#(?:[0-9]{1,8}|x[0-9a-fA-F]{1,8});)+")
_REFERENCE: Final = re.compile(r"&#(?:([0-9]+)|x([0-9a-fA-F]+));")
# What XML may not have, not even by its number.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def read_xml(body: bytes) -> Any:
    """Return an XML document as values: {"Envelope": {"Body": …}}.

    An element with elements in it becomes an object of these, by their names without namespaces;
    of a name that is there several times, a list. Its attributes are keys that begin with @; its
    own text is left out. Any other element is its text, without its attributes; null if it has
    xsi:nil="true". Half an emoji and what XML forbids become U+FFFD. No error message repeats a
    part of the body.

    Raises:
        BadPayload: it is not XML in UTF-8, has a document type or a namespace of more than
            LONGEST_NAMESPACE, or is nested too deep.
        TooLarge: it has more values than MAX_VALUES. They are counted before it is parsed.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_in_charset("UTF-8", error.start) from None
    if not text.strip():
        raise BadPayload("The body is empty.")
    if body.count(b"<") + body.count(b"=") > 2 * MAX_VALUES:  # a pair of tags is a value
        raise TooLarge(f"The body has more than {MAX_VALUES} values; send them in parts.")
    parser = DefusedXMLParser(target=_Builder(), forbid_dtd=True)
    try:
        parser.feed(_with_whole_characters(text.strip()))
        root = parser.close()
    except DefusedXmlException:
        raise BadPayload("The body has a document type. Send XML without one.") from None
    except ParseError as error:
        line, column = error.position
        place = f"line {line}, column {column + 1}"
        raise BadPayload(f"The body is not valid XML ({place}).", place=place) from None
    return {_name(root.tag): _value(root, MAX_DEPTH)}


class _Builder(TreeBuilder):
    def start_ns(self, prefix: str, uri: str) -> None:
        """Refuse a long namespace where it is declared, before an element has it."""
        if len(uri) > LONGEST_NAMESPACE:
            raise BadPayload(f"A namespace is longer than {LONGEST_NAMESPACE} characters.")


def _value(element: Element, levels: int) -> Any:
    if element.get(_NIL) in ("true", "1"):
        return None
    if not len(element):
        text = element.text or ""
        return text if text.strip() else ""
    if not levels:
        raise BadPayload(f"The body is nested more than {MAX_DEPTH} levels deep.")
    found: dict[str, Any] = {f"@{_name(key)}": value for key, value in element.items()}
    seen: dict[str, list[Any]] = {}
    for child in element:
        seen.setdefault(_name(child.tag), []).append(_value(child, levels - 1))
    return found | {name: one[0] if len(one) == 1 else one for name, one in seen.items()}


def _name(tag: str) -> str:
    return _NAMESPACE.sub("", tag)


def _with_whole_characters(text: str) -> str:
    """Return a text in which every character is one that XML may have."""
    if "&#" in text:
        text = _REFERENCES.sub(lambda run: _REFERENCE.sub(_resolved, run[0]), text)
        # Two halves that follow one another become the character; half of one becomes U+FFFD.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _FORBIDDEN.sub("\ufffd", text)


def _resolved(reference: re.Match[str]) -> str:
    """Return what XML could not resolve as a character; other references stay."""
    code = int(reference[1]) if reference[1] else int(reference[2], 16)
    if code > 0x10FFFF:
        return "\ufffd"
    character = chr(code)
    is_half = 0xD800 <= code <= 0xDFFF
    return character if is_half or _FORBIDDEN.match(character) else reference[0]
