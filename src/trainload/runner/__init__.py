"""What works on the far side of an ssh connection: it travels along, and needs Python 3.8 and nothing else.

It imports only itself and the standard library, and is written for a Python that is older than ours. It keeps a
store in the form of ``trainload.store`` by a code of its own, which a Trainload installed there reads.

* ``loader``: how it gets into an interpreter; ``wire``: what is said, in both directions
* ``home``: the store's folder, locks and lease; ``names``: its list of images; ``blobs``: what comes in
* ``serve``: answers requests
* ``hosted``: runs that outlive the connection; ``outputs``: what they wrote; ``byprogram``: Docker and Podman
* ``keeper``: stays with a run where there is no engine; ``unpack``, ``container``: its root; ``lines``: its log
"""
