"""The hand-made loop: 64 threads that move an item over, post it, and take it off.

What one would write in an afternoon, and the ceiling for threads and `requests`: it checks
nothing, does not know a duplicate, and what was on the wire at a crash is anybody's guess.
Run as a process of its own: `python -m bench.loop REDIS_URL API_URL THREADS`.
"""

import sys
import threading

import orjson
import redis
import requests

TODO, DOING, KEPT_S = "loop:todo", "loop:doing", 3600


def work(client: "redis.Redis", url: str) -> None:
    """Deliver until nothing came for a second."""
    session = requests.Session()
    session.headers["X-API-KEY"] = "bench"
    while item := client.blmove(TODO, DOING, 1, "RIGHT", "LEFT"):
        body = orjson.loads(str(item))
        answer = session.post(url, json=body, timeout=15)
        answer.raise_for_status()
        key = f"loop:done:{body['metadata']['bridge_delivery_id']}"
        pipe = client.pipeline(transaction=False)
        pipe.lrem(DOING, 1, str(item))
        pipe.hset(key, mapping={"status": "delivered", "call_sid": answer.json()["call_sid"]})
        pipe.expire(key, KEPT_S)
        pipe.execute()


def main(redis_url: str, api_url: str, count: int) -> None:
    """Run so many threads until there is nothing left."""
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    threads = [threading.Thread(target=work, args=(client, api_url)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
