FROM debian:12.7-slim
RUN apt-get update && apt-get install -y --no-install-recommends wget \
 && rm -rf /var/lib/apt/lists/ && wget --version
RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists
RUN apt-get update -y && apt-get upgrade -y && apt-get autoremove -y && rm -fr /var/lib/apt/lists/* /var/cache/apt/archives /tmp/*
USER nobody
CMD ["sleep","1"]
