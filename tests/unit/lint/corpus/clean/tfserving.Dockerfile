FROM tensorflow/serving:2.18.0
COPY models/resnet /models/resnet
ENV MODEL_NAME=resnet
RUN useradd --create-home serving
USER serving
HEALTHCHECK CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8501"]
