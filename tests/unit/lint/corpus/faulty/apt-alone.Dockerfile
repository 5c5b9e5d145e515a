FROM python:3.11-slim
RUN apt-get update
RUN apt-get install -y --no-install-recommends ffmpeg libgl1
RUN apt-get install curl
WORKDIR /app
COPY requirements.txt .
RUN pip3 install --no-cache-dir -r requirements.txt
COPY . .
USER 1000
CMD ["python3", "infer.py"]
