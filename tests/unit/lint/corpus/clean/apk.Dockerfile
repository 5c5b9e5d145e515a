FROM alpine:3.20
RUN apk add --no-cache python3 py3-numpy
COPY . /app
RUN adduser -D app
USER app
CMD ["python3", "/app/train.py"]
