"""Deterministic simulation of agents on SageMaker: one process, one seed, simulated time.

The agents, controllers, stores, SageMaker backends and log parsers are the product's. The account (SageMaker and
CloudWatch Logs), the network, the clocks, the disk of the store and the scheduler are simulated. At each call to
the store or to AWS, the seed decides how long the call takes, which process continues, and whether a fault
happens. It also decides what users do: they change the config, give orders to agents, pause, cancel and retry.
`invariants.py` states what must hold.

    python -m tools.simulate --seeds 0:1000      # run many sweeps
    python -m tools.simulate --seed 17 --trace   # print each call of one sweep
    python -m tools.simulate --bugs              # how soon known bugs are found
"""
