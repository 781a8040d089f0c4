"""The benchmark: the floor, a hand-made loop and the bridge, side by side in one run.

`python -m bench` (or `make bench`). Nothing leaves this machine. Machines differ and are noisy. So
rounds are short and take turns, the table shows medians, and only ratios within one run count.

    intake.py    webhooks a second, against a Flask view that only checks the HMAC and parses
    delivery.py  deliveries a second, against a loop of 64 threads without any promise
    load.py      the client that posts the webhooks; api.py the server that takes the calls
    floor.py, loop.py    what the bridge is compared with
"""
