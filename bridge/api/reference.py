"""/docs for people: the OpenAPI description as rows for a template."""

from typing import Any

import orjson


def pages_of(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what api_docs.html shows: the operations by tag, and the shapes by name."""
    tags: dict[str, list[dict[str, Any]]] = {}
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            shown = _operation(path, method, operation, spec["components"]["responses"])
            tags.setdefault(operation["tags"][0], []).append(shown)
    shapes = spec["components"]["schemas"]
    return {
        "title": spec["info"]["title"],
        "about": spec["info"]["description"],
        "tags": tags,
        "shapes": {name: _shape(shape, shapes) for name, shape in sorted(shapes.items())},
    }


def _operation(
    path: str, method: str, operation: dict[str, Any], errors: dict[str, Any]
) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "more": operation.get("description", ""),
        "needs_token": bool(operation["security"]),
        "parameters": [_parameter(one) for one in operation["parameters"]],
        "bodies": [
            {"media": media, "type": type_of(one["schema"]), "example": _text(one.get("example"))}
            for media, one in content.items()
        ],
        "answers": [
            _answer(status, answer, errors)
            for status, answer in sorted(operation["responses"].items())
        ],
    }


def _parameter(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": one["name"],
        "in": one["in"],
        "type": type_of(one["schema"]),
        "description": one.get("description", ""),
    }


def _answer(status: str, answer: dict[str, Any], errors: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in answer:
        text = errors[answer["$ref"].rpartition("/")[2]]["description"].replace("`", "")
        return {"status": status, "types": [("Error", "Error")], "description": text}
    contents = answer.get("content", {}).values()
    types = [word for content in contents for word in type_of(content["schema"])]
    return {"status": status, "types": types, "description": answer["description"]}


def _shape(shape: dict[str, Any], shapes: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": shape.get("description", ""),
        "fields": [
            {
                "name": name,
                "type": type_of(field),
                "is_required": name in shape.get("required", ()),
                "description": field.get("description", ""),
            }
            for name, field in shape.get("properties", {}).items()
        ],
        "example": _text(sample(shape, shapes)),
    }


def type_of(schema: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return a schema's type as words, each with the name of the shape it links to, or None."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [(name, name)]
    if "anyOf" in schema:
        first, *others = (type_of(one) for one in schema["anyOf"])
        return [*first, *(word for other in others for word in [(" or ", None), *other])]
    kind = schema.get("type", "any JSON value")
    if kind == "array":
        return [("list of ", None), *type_of(schema.get("items", {}))]
    words = " or ".join([kind] if isinstance(kind, str) else kind)
    if "enum" in schema:
        words += ": " + ", ".join("null" if one is None else str(one) for one in schema["enum"])
    for name, text in (("minimum", "from"), ("maximum", "to"), ("default", "default")):
        if name in schema and schema[name] != "":
            words += f", {text} {_text(schema[name])}"
    return [(words, None)]


def sample(schema: dict[str, Any], shapes: dict[str, Any]) -> Any:
    """Return an invented value that fits a schema, so that people see its shape."""
    if "$ref" in schema:
        return sample(shapes[schema["$ref"].rpartition("/")[2]], shapes)
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], shapes)
    kind = schema.get("type")
    match kind if isinstance(kind, str) or kind is None else kind[0]:
        case "object":
            fields = schema.get("properties", {})
            return {name: sample(field, shapes) for name, field in fields.items()}
        case "array":
            return [sample(schema["items"], shapes)]
        case "string":
            return "2026-01-31T09:30:00.000Z" if schema.get("format") == "date-time" else "…"
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case _:
            return {}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
