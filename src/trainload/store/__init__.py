"""The content-addressed store: an OCI image layout on disk. One function commits a blob, one the index.

``store.py`` is the door; everything else is behind it:

* ``layout``: the names inside ``$TRAINLOAD_HOME``, what makes a folder a store, who may write it
* ``session``: a lease held while something is being written, so that gc takes nothing that is needed
* ``content``: the commit recipe of one blob (THREATS §4), for image blobs and for fetched input files
* ``index``: the names of images; ``recipes``: which layer came of which inputs
* ``collect``: what nobody needs any more; ``check``: whether all this holds
"""
