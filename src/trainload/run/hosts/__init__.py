"""Runs on servers: shipped there, started there, and theirs from then on (docs/adr/0037).

* ``place``: what of a run is here and what is there; ``words``: of Docker; ``charge``: what is sent; pure
* ``line``: one connection whose far end became a runner; ``engine``: a host behind the protocol of engines
* ``outputs``: what a run wrote, brought here; ``troubles``: what the far side says, as errors
"""
