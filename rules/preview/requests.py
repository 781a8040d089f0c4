"""A CRM's requests, as a preview shows them: with their address, without their login."""

from rules.preview.text import Request
from schemas.crm_api import CrmRequest
from schemas.settings import Settings
from schemas.source import Source


def crm_request(
    settings: Settings, source: Source, asked: CrmRequest, *, note: str | None = None
) -> Request:
    """Return a request to the CRM of a source. A variable that is not set stays as its name."""
    hydration = source.kind.hydration
    variables = settings.variables.get(source.name, {})
    suffix = hydration.api_url if hydration else "API_URL"
    base_url = variables.get(suffix) or f"<{source.variable_prefix}{suffix}>"
    path = asked.path_with(variables, prefix=source.variable_prefix)
    return Request(
        method=asked.method, path=base_url + path + _query(asked), body=asked.json, note=note
    )


def _query(asked: CrmRequest) -> str:
    query = "&".join(f"{name}={value}" for name, value in asked.params.items())
    return f"?{query}" if query else ""
