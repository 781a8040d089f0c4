"""Access tokens of CRMs, and whose they are: one for all workers."""

from collections.abc import Mapping
from typing import Any

import orjson

from store.base import Base, P

TOKEN_LOCK_MS = 30_000


class TokenStore(Base):
    """The access tokens, and the lock on refreshing one."""

    def token(self, source: str) -> dict[str, Any] | None:
        """Return the access token of a source; None: there is none, or it expired."""
        with self._reached():
            found = self.redis.get(f"{P}token:{source}")
        return orjson.loads(found) if found else None

    def put_token(self, source: str, token: Mapping[str, Any], *, for_s: int) -> None:
        """Keep an access token for for_s seconds. Its user is not known yet."""
        with self._reached():
            pipe = self.redis.pipeline()
            pipe.set(f"{P}token:{source}", orjson.dumps(token), ex=max(for_s, 1))
            pipe.delete(f"{P}token-user:{source}")
            pipe.execute()

    def drop_token(self, source: str, refused: str) -> None:
        """Delete an access token that its CRM refused; a newer one of another worker stays."""
        self._run("drop_token", source, refused)

    def token_user(self, source: str) -> str | None:
        """Return the CRM's id of the token's user; "": it can't be known; None: it is not kept."""
        with self._reached():
            found = self.redis.get(f"{P}token-user:{source}")
        return None if found is None else str(found)

    def put_token_user(self, source: str, user: str, *, for_s: int) -> None:
        """Keep the id of the token's user, or "", for for_s seconds."""
        with self._reached():
            self.redis.set(f"{P}token-user:{source}", user, ex=for_s)

    def may_refresh_token(self, source: str) -> bool:
        """Take the lock on refreshing a source's token, for 30 s; False: another worker has it."""
        with self._reached():
            return bool(self.redis.set(f"{P}token-lock:{source}", "1", nx=True, px=TOKEN_LOCK_MS))

    def done_refreshing(self, source: str) -> None:
        """Release the lock on refreshing a source's token."""
        with self._reached():
            self.redis.delete(f"{P}token-lock:{source}")
