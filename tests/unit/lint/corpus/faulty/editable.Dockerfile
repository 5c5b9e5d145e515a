FROM python:3-slim
WORKDIR /app
ENV PIP_NO_CACHE_DIR=1
COPY . /app
RUN apt-get update && apt-get install -y git && apt-get clean
RUN pip install -e .
RUN git clone https://bot:Zx81qqTT90@git.example/team/evals.git /opt/evals
RUN adduser --disabled-password --gecos "" runner
CMD ["python", "-m", "project.train"]
