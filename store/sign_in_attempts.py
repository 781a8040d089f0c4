"""Visiting: how often somebody tried to sign in."""

from store.base import Base, P


class SignInStore(Base):
    """Counts tries, over all web processes."""

    def count_tries(self, who: str, *, within_s: int) -> int:
        """Count a try by an address, known by its keyed hash; returns how many there were."""
        key = f"{P}sign_in_attempts:{self._keyed(who)}"
        with self._reached():
            pipe = self.redis.pipeline()
            pipe.incr(key)
            pipe.expire(key, within_s, nx=True)
            return int(pipe.execute()[0])
