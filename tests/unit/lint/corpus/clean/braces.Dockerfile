FROM debian:12.7-slim
SHELL ["/bin/bash", "-c"]
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/{apt,dpkg}/lists /var/{cache,log}/*
USER 65534
CMD ["sleep", "infinity"]
