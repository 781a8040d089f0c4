"""The benchmark: the floor, a hand-made loop and us, side by side in one run.

`python -m bench` (or `make bench`). Nothing leaves this machine. Machines differ and are noisy, so
rounds are short and take turns, medians are shown, and only ratios within one run mean anything.

    intake.py    webhooks a second, against a Flask view that only checks the HMAC and parses
    delivery.py  deliveries a second, against a loop of 64 threads that promises nothing
    load.py      the client that posts the webhooks; api.py the server that takes the calls
    floor.py, loop.py    what we are compared with
"""
