"""Images to a server over ssh: into its Docker or Podman, or into a folder there.

* ``there``: one ssh session, a shell in it, and how it becomes a runner; ``bundle``: the runner as one file
* ``engines``: which engine works there, and what it has; ``taking``: it pulls an image, or loads what it lacks
* ``ways``: which of the ways into an engine; ``offer``: one image as a registry for that pull
* ``remote_store``: blobs into a folder there, from which an engine may pull
* ``ship``: into an engine or a folder, and what is told
"""
