FROM debian:12.7-slim
RUN set -eux; \
	apt-get update; \
	apt-get install -y --no-install-recommends \
		python3 \
	; \
	rm -rf /var/lib/apt/lists/*
USER 65534
CMD ["python3"]
