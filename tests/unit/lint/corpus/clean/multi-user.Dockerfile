FROM python:3.11 AS build
COPY requirements.txt .
RUN pip install --prefix=/install -r requirements.txt

FROM python:3.11-slim
COPY --from=build /install /usr/local
RUN groupadd --gid 1000 app && useradd --uid 1000 --gid app --create-home app
WORKDIR /home/app
COPY --chown=app:app src/ src/
USER app
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health')"]
CMD ["uvicorn", "src.app:app", "--host", "0.0.0.0", "--port", "8000"]
