"""A CRM's requests, as a preview shows them: with their address, without their login."""

from rules.preview.text import Request
from schemas.crm_api import CrmRequest
from schemas.settings import Settings
from schemas.source import Source


def crm_request(
    settings: Settings, source: Source, asked: CrmRequest, *, note: str | None = None
) -> Request:
    """Return a request to the CRM of a source. A variable that is not set stays as its name."""
    api, prefix = source.kind.api, source.variable_prefix
    variables = settings.variables.get(source.name, {})
    suffix = api.api_url if api else "API_URL"
    base_url = variables.get(suffix) or f"<{prefix}{suffix}>"
    path = asked.path_with(variables, prefix=prefix)
    body = asked.json_with({}, prefix=prefix)  # a value may be a secret
    return Request(method=asked.method, path=base_url + path + _query(asked), body=body, note=note)


def _query(asked: CrmRequest) -> str:
    query = "&".join(f"{name}={value}" for name, value in asked.params.items())
    return f"?{query}" if query else ""
