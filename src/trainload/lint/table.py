"""The table of rules."""

from __future__ import annotations

from typing import Any

from trainload.errors import Text
from trainload.lint.compose import gpus as compose_gpus
from trainload.lint.compose import ranks
from trainload.lint.compose import rules as compose
from trainload.lint.dockerfile import bases, content, order, packages, reach, running
from trainload.lint.kubernetes import jobs, network, resources, torchrun
from trainload.lint.model import Kind, Rule

_C, _D, _K = Kind.COMPOSE, Kind.DOCKERFILE, Kind.KUBERNETES

_DOCKERFILE: tuple[Rule[Any], ...] = (
    Rule("floating-image", _D, Text("an image without a tag, or with one that moves, such as latest"),
         bases.floating),
    Rule("cuda-twice", _D, Text("a base with CUDA under wheels that bring their own"), bases.cuda_twice),
    Rule("torch-cuda", _D, Text("torch built for another CUDA than the base or the driver has"),
         bases.cuda_mismatch),
    Rule("code-first", _D, Text("dependencies installed after the code was copied"), order.code_first),
    Rule("pip-cache", _D, Text("pip's or uv's downloads kept in a layer"), packages.pip_cache),
    Rule("conda-cache", _D, Text("conda's downloads kept in a layer"), packages.conda_cache),
    Rule("apt-lists", _D, Text("apt's package lists kept in a layer"), packages.apt_lists),
    Rule("apt-update-alone", _D, Text("apt-get update in another RUN than the install"), packages.apt_update),
    Rule("apt-yes", _D, Text("apt-get install that asks"), packages.apt_yes),
    Rule("slow-index", _D, Text("the far package index, although the configuration names a nearer one"),
         packages.slow_index),
    Rule("root", _D, Text("a program that runs as root"), running.root),
    Rule("no-healthcheck", _D, Text("a server without a HEALTHCHECK"), running.healthcheck),
    Rule("listens-inside", _D, Text("a server that listens to 127.0.0.1, where nobody outside reaches it"),
         reach.listens_inside),
    Rule("plain-index", _D, Text("a package index over plain HTTP, which pip does not ask"), reach.plain_index),
    Rule("torch-launch", _D, Text("torch.distributed.launch, which is deprecated"), running.launch),
    Rule("shared-memory", _D, Text("a docker run in a comment without --shm-size, with DataLoader workers"),
         running.shared_memory),
    Rule("weights-in-code", _D, Text("weights or data in a layer with the code"), content.big),
    Rule("secret", _D, Text("a password, token or key file that stays in the image"), content.secrets),
)  # fmt: skip

_COMPOSE: tuple[Rule[Any], ...] = (
    Rule("obsolete-version", _C, Text("version: has no meaning any more"), compose.version),
    Rule("floating-image", _C, Text("an image without a tag, or with one that moves, such as latest"),
         compose.image),
    Rule("gpu-reservation", _C, Text("GPUs reserved in a shape that compose refuses or overlooks"),
         compose_gpus.reservation),
    Rule("gpu-runtime", _C, Text("runtime: nvidia instead of a reservation"), compose_gpus.runtime),
    Rule("shared-memory", _C, Text("DataLoader workers or several ranks with 64 MiB of /dev/shm"),
         compose.shared_memory),
    Rule("secret", _C, Text("a password or token written into the file"), compose.secrets),
    Rule("torch-launch", _C, Text("torch.distributed.launch, or torchrun on several nodes without an address"),
         ranks.launch),
)  # fmt: skip

_KUBERNETES: tuple[Rule[Any], ...] = (
    Rule("floating-image", _K, Text("an image without a tag, or with one that moves, such as latest"),
         resources.images),
    Rule("gpu-limits", _K, Text("a GPU without a limit, or with a limit that is not the request"), resources.gpus),
    Rule("shared-memory", _K, Text("DataLoader workers or several ranks without a memory volume at /dev/shm"),
         resources.shared_memory),
    Rule("secret", _K, Text("a password or token written into the file"), resources.secrets),
    Rule("job-restart-policy", _K, Text("a Job whose pods may restart alone, or have no policy"), jobs.restart),
    Rule("job-backoff", _K, Text("a Job of several ranks that replaces single pods"), jobs.backoff),
    Rule("job-not-indexed", _K, Text("a Job of several ranks whose pods have no number"), jobs.not_indexed),
    Rule("job-completions", _K, Text("a Job of several ranks that do not all run at once"), jobs.completions),
    Rule("job-name", _K, Text("a name that leaves no room for the pods' own"), jobs.name),
    Rule("job-subdomain", _K, Text("an address of rank 0 that no name server knows"), network.subdomain),
    Rule("headless-service", _K, Text("a subdomain without its headless Service, or with a wrong one"),
         network.service),
    Rule("torch-launch", _K, Text("torch.distributed.launch, or torchrun on several nodes without address or rank"),
         torchrun.rendezvous),
    Rule("torch-sizes", _K, Text("torchrun for another number of nodes or processes than there are pods or GPUs"),
         torchrun.sizes),
    Rule("literal-variable", _K, Text("$NAME in an argument that no shell reads"), torchrun.variables),
    Rule("host-network-port", _K, Text("hostNetwork together with a fixed port"), network.host_network),
    Rule("jobset-restart", _K, Text("a JobSet that does not start the gang again"), jobs.jobset),
    Rule("queue-suspend", _K, Text("a Job for Kueue's queue that is not suspended"), jobs.suspended),
    Rule("trainjob-launch", _K, Text("a TrainJob that gives torchrun what Kubeflow gives it"), torchrun.trainjob),
    Rule("trainjob-overrides", _K, Text("podTemplateOverrides, which newer Kubeflow refuses"), torchrun.overrides),
)  # fmt: skip

RULES: tuple[Rule[Any], ...] = (*_DOCKERFILE, *_COMPOSE, *_KUBERNETES)
