"""How a Dockerfile becomes an image: what stands below, what COPY places, what RUN changes, stage by stage."""
