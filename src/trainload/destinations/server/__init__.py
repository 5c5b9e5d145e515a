"""The store as a registry: the OCI distribution specification, from the server's side.

* ``messages``: requests, answers and refusals as values; ``routes``: which request is for what. Both pure.
* ``ranges``, ``pages``, ``access``: Content-Range, pagination, who may ask what. Pure.
* ``uploads``: blobs on their way in; ``registry``: answers requests from the store
* ``connection``, ``listener``: HTTP on sockets; ``serve``: a running server, as a context manager
"""
