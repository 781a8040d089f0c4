"""Other queues for Python: each posts the same bodies to the same API, with as many threads.

They only post what was enqueued whole: no guard, no mapping, no record of sending. Each is set up
as its documentation proposes. All but RQ are in .bench, not in .venv: requirements-bench.txt.

    catalogue.py  which there are, and how each is started
    post.py       the task that each of them runs
    on_*.py       one queue: `enqueue(bodies)`, and what its own worker command loads
"""
