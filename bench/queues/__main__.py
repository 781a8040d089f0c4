"""`python -m bench.queues MODULE COUNT`: enqueue that many bodies, with the queue's own client."""

import sys
from importlib import import_module

from bench.leads import body_of

if __name__ == "__main__":
    module = import_module(f"bench.queues.{sys.argv[1]}")
    module.enqueue([body_of(number) for number in range(int(sys.argv[2]))])
