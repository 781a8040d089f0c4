"""Sign-in attempts: how often an address tried to sign in."""

from store.base import Base, P


class SignInStore(Base):
    """Counts attempts, over all web processes."""

    def count_tries(self, who: str, *, within_s: int) -> int:
        """Count an attempt of an address; return how many there were within within_s seconds.

        Redis keeps a keyed hash of the address, not the address.
        """
        key = f"{P}sign_in_attempts:{self._keyed(who)}"
        with self._reached():
            pipe = self.redis.pipeline()
            pipe.incr(key)
            pipe.expire(key, within_s, nx=True)
            return int(pipe.execute()[0])
