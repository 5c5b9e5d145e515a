"""Which servers nobody outside their container reaches, and which indexes pip does not ask."""

from __future__ import annotations

import json

import pytest

from trainload.lint.check import check, mended
from trainload.lint.code import inside, servers
from trainload.lint.model import Surroundings

HEAD = "FROM python:3.11.9-slim\nUSER 1000\nHEALTHCHECK NONE\n"


def found(text: str, around: Surroundings | None = None) -> list[str]:
    return [one.rule for one in check("Dockerfile", HEAD + text, around)]


def fixed(text: str, around: Surroundings | None = None) -> str:
    return mended("Dockerfile", HEAD + text, around, risky=True).text.removeprefix(HEAD)


@pytest.mark.parametrize(
    ("command", "after"),
    [
        ("uvicorn main:app", "uvicorn main:app --host 0.0.0.0"),
        ("uvicorn main:app --port 80 --host localhost", "uvicorn main:app --port 80 --host 0.0.0.0"),
        ("python -m uvicorn main:app --host=127.0.0.1", "python -m uvicorn main:app --host=0.0.0.0"),
        ("gunicorn -w 2 main:app", "gunicorn -w 2 main:app --bind 0.0.0.0:8000"),
        ("gunicorn -b localhost:80 main:app", "gunicorn -b 0.0.0.0:80 main:app"),
        ("flask run -p 80", "flask run -p 80 --host 0.0.0.0"),
        ("fastapi dev main.py", "fastapi dev main.py --host 0.0.0.0"),
        ("mlflow ui", "mlflow ui --host 0.0.0.0"),
        ("python manage.py runserver", "python manage.py runserver 0.0.0.0:8000"),
        ("python manage.py runserver 80", "python manage.py runserver 0.0.0.0:80"),
        ("streamlit run a.py --server.address=127.0.0.1", "streamlit run a.py --server.address=0.0.0.0"),
    ],
)
def test_a_server_that_listens_to_itself_is_told_and_mended_in_both_forms(command: str, after: str) -> None:
    for before, wanted in ((command, after), (json.dumps(command.split()), json.dumps(after.split()))):
        assert found(f"CMD {before}\n") == ["listens-inside"]
        assert fixed(f"CMD {before}\n") == f"CMD {wanted}\n"
        assert found(f"CMD {wanted}\n") == []


@pytest.mark.parametrize(
    "text",
    [
        "CMD uvicorn main:app --host $HOST",
        "ENV UVICORN_HOST=::\nCMD uvicorn main:app",
        "CMD gunicorn -c g.py m:a",
        "CMD uvicorn main:app --uds /run/a.sock",
        "CMD gunicorn -b unix:/run/a.sock m:a",
        "CMD gunicorn -b :80 m:a",
        "CMD fastapi run main.py",
        "CMD streamlit run a.py",
        "CMD python -m http.server",
        "CMD vllm serve m",
        "COPY nginx.conf /etc/nginx/\nCMD uvicorn main:app",
        "ENV PORT=80\nCMD gunicorn m:a",
        "CMD python manage.py runserver 0.0.0.0:80",
        "CMD tensorboard --logdir x --bind_all",
        "CMD python train.py",
    ],
)
def test_a_server_that_others_reach_or_may_reach_is_left_alone(text: str) -> None:
    assert found(f"{text}\n") == []


def test_a_file_that_sets_the_address_is_believed() -> None:
    assert found("CMD gunicorn m:a\n", Surroundings(files={"gunicorn.conf.py": 9})) == []


@pytest.mark.parametrize(
    ("text", "is_inside"),
    [
        ("import gradio as gr\ngr.Interface(f, 'text', 'text').launch()", True),
        ("import gradio as gr\ndemo.launch(share=bool(1), server_name='0.0.0.0')", False),
        ("import gradio as gr\ndemo.launch(**options)", False),
        ("from flask import Flask\napp = Flask('x')\napp.run(debug=True, port=80)", True),
        ("from flask import Flask\napp.run(host='0.0.0.0')", False),
        ("import uvicorn\nuvicorn.run(app, host='127.0.0.1', port=int(os.environ.get('P', '80')))", True),
        ("import uvicorn\nuvicorn.run(app, port=int(x()), host=args.host)", False),
        ("from mine import app\napp.run()", False),
        ("rocket.launch()", False),
    ],
)
def test_scripts_that_serve_themselves_alone(text: str, *, is_inside: bool) -> None:
    seen = inside({"app.py": text})
    assert ("app.py" in seen) is is_inside
    around = Surroundings(servers=servers({"app.py": text}), inside=seen)
    assert ("listens-inside" in found('CMD ["python", "app.py"]\n', around)) is is_inside


def test_gradio_is_told_by_its_variable_where_to_listen() -> None:
    around = Surroundings(inside=inside({"app.py": "import gradio\ngradio.Interface().launch()\n"}))
    after = "ENV GRADIO_SERVER_NAME=0.0.0.0\nCMD python app.py\n"
    assert fixed("CMD python app.py\n", around) == after
    assert found(after, around) == []


@pytest.mark.parametrize(
    "text",
    [
        "RUN pip install --no-cache-dir -i http://a.example/simple --trusted-host a.example rich",
        "RUN pip config set global.trusted-host a\nRUN pip install --no-cache-dir -i http://a/ rich",
        "ENV PIP_TRUSTED_HOST=a.example\nRUN pip install --no-cache-dir -i http://a.example/simple rich",
        "RUN uv pip install --system --no-cache --index http://a.example/simple rich",
        "RUN pip install --no-cache-dir -i http://localhost:3141/simple rich",
        "RUN pip install --no-cache-dir -i $INDEX rich",
    ],
)
def test_indexes_that_pip_or_uv_asks(text: str) -> None:
    assert found(f"{text}\n") == []


def test_an_index_is_asked_with_encryption_or_where_it_has_none_is_trusted() -> None:
    lines = "RUN pip install --no-cache-dir -i {}://a.example/simple rich\n"
    assert (found(lines.format("http")), fixed(lines.format("http"))) == (["plain-index"], lines.format("https"))
    lan = "RUN pip install{} --no-cache-dir -i http://10.0.0.7:3141/simple rich\n"
    assert fixed(lan.format("")) == lan.format(" --trusted-host 10.0.0.7")
