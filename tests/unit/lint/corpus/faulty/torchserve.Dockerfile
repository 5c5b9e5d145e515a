FROM pytorch/torchserve:latest-gpu
COPY model-store/densenet.mar /home/model-server/model-store/
COPY config.properties /home/model-server/
CMD ["torchserve", "--start", "--model-store", "/home/model-server/model-store", "--models", "densenet=densenet.mar", "--foreground"]
