"""The hand-made loop: 64 threads that move an item to a list, post it, and remove it.

A program of one afternoon, and the ceiling for threads and `requests`. It checks nothing, does not
notice duplicates, and does not know after a crash what was on the wire.
Run it in a process of its own: `python -m bench.loop REDIS_URL API_URL THREADS`.
"""

import sys
import threading

import orjson
import redis
import requests

TODO, DOING, KEPT_S = "loop:todo", "loop:doing", 3600


def work(client: "redis.Redis", url: str) -> None:
    """Deliver until no item has come for a second."""
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
    """Run `count` threads until no item is left."""
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    threads = [threading.Thread(target=work, args=(client, api_url)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
