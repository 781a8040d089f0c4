"""The benchmark: floors, a hand-made loop, other queues and the bridge, side by side in one run.

`python -m bench` (or `make bench`). Nothing leaves this machine. Machines differ and are noisy. So
rounds are short and take turns, the tables show medians and spread, and only ratios within one run
count.

    intake.py    webhooks a second, beside a bare Flask and one that only checks the HMAC and parses
    delivery.py  calls a second, beside a loop of 64 threads without any promise, and queues/
    latency.py, rest.py, memory.py, many.py    a bridge with little to do, and one with much
    results.py   all of it, with the targets; table.py, plots.py and quote.py show it
    checkout.py  what runs a bridge: this one, or an older one beside it (--against)
    load.py      the client that posts the webhooks; api.py the server that takes the calls
    soak.py      memory over half an hour; peers/ n8n and Node-RED (make bench-peers)
"""
