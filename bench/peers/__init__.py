"""The bridge beside n8n (queue mode) and Node-RED: `python -m bench.peers`, or `make bench-peers`.

All get the same webhooks and post to the same API, on the same machine, in turn. What they promise
differs, so the table says what an answer means.

    peer.py      what is measured of each
    bridge.py, n8n.py, node_red.py    how each is started
    postgres.py  the database of n8n
"""
