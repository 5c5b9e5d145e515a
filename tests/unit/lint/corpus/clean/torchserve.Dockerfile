FROM pytorch/torchserve:0.12.0-cpu
COPY model-store/densenet.mar /home/model-server/model-store/
HEALTHCHECK --start-period=60s CMD curl -fsS http://127.0.0.1:8080/ping || exit 1
CMD ["torchserve", "--start", "--model-store", "/home/model-server/model-store", "--models", "densenet=densenet.mar", "--foreground"]
