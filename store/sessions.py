"""Sessions of the dashboard: who signed in. Without its record here, a cookie opens nothing."""

import orjson

from store.base import Base, P


class SessionStore(Base):
    """The sessions that are open."""

    def open_session(self, session_id: str, *, name: str, proof: str, for_s: int) -> None:
        """Keep a session for for_s seconds.

        name: of its token. proof: says which value of the token opened it. Redis has a keyed hash
        of the id, not the id.
        """
        record = orjson.dumps({"name": name, "proof": proof})
        self._run("open_session", self._keyed(session_id), record, for_s)

    def session(self, session_id: str) -> tuple[str, str] | None:
        """Return the name of a session's token, and the proof; None: it ended, or never was."""
        with self._reached():
            kept = self.redis.get(self._session(session_id))
        if not kept:
            return None
        found = orjson.loads(kept)
        return found["name"], found["proof"]

    def end_session(self, session_id: str) -> None:
        """End a session, in whatever browser its cookie is."""
        with self._reached():
            self.redis.delete(self._session(session_id))

    def _session(self, session_id: str) -> str:
        return f"{P}session:{self._keyed(session_id)}"
