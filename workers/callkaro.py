"""The only module that talks to CallKaro. https://docs.callkaro.ai"""

from collections.abc import Mapping
from typing import Any, Literal

from config import log
from rules.verdict import Verdict, verdict, verdict_of_crash, verdict_of_deletion
from schemas.callkaro import PATHS
from schemas.http_result import HttpResult
from workers.http import HttpClient, SendDeadline

logger = log.get(__name__)

DELETION = "/call/delete-schedule-call"


class CallKaro:
    """CallKaro's API under one key."""

    def __init__(self, http: HttpClient, *, base_url: str, api_key: str) -> None:
        self.http = http
        self._base_url = base_url
        self._headers = {"X-API-KEY": api_key}

    def post(
        self,
        to: Literal["call", "campaign"],
        body: Mapping[str, Any],
        *,
        send_deadline: SendDeadline | None = None,
    ) -> tuple[HttpResult, Verdict]:
        """Make one request and return what its answer means. Never raises.

        A campaign with an agent is a v1 campaign, a campaign without is a v2 campaign. After
        send_deadline the request is not begun; then it counts as never sent.
        """
        path = PATHS[to if to == "call" else ("v1" if "agent_id" in body else "v2")]
        result = self.http.request(
            "POST",
            self._base_url + path,
            headers=self._headers,
            json=body,
            send_deadline=send_deadline,
        )
        try:
            meant = verdict(to, sent=result.sent, status_code=result.status_code, body=result.body)
        except Exception as error:
            logger.error("answer.crashed", exc_info=error)
            meant = verdict_of_crash(to)
        return result, meant

    def delete_scheduled(self, agent_id: str, to_number: str) -> tuple[HttpResult, Verdict]:
        """Have every scheduled call of that agent to that number deleted. Never raises."""
        result = self.http.request(
            "POST",
            self._base_url + DELETION,
            headers=self._headers,
            params={"agent_id": agent_id},
            json={"to_number": to_number},
        )
        try:
            found = verdict_of_deletion(
                sent=result.sent, status_code=result.status_code, body=result.body
            )
        except Exception as error:
            logger.error("answer.crashed", exc_info=error)
            found = verdict_of_crash("campaign")  # to repeat a deletion does no harm
        return result, found
