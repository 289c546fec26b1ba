"""Which distribution provides an imported module. Curated: an entry is a promise, not a guess.

The name pairs are the uncontested ones of Pants' ``default_module_mapping.py`` (Apache-2.0) and
of the projects' own documentation. Nothing is added by similarity: look-alike names on package
indexes are a known way to get foreign code into a build.
"""

from __future__ import annotations

from difflib import get_close_matches

# Module -> distribution, then alternatives that provide the same module.
DIFFERENT = {
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "cv2": ("opencv-python", "opencv-python-headless"),
    "dateutil": ("python-dateutil",),
    "django_filters": ("django-filter",),
    "docx": ("python-docx",),
    "dotenv": ("python-dotenv",),
    "git": ("GitPython",),
    "github": ("PyGithub",),
    "google.protobuf": ("protobuf",),
    "jose": ("python-jose",),
    "jwt": ("PyJWT",),
    "magic": ("python-magic",),
    "multipart": ("python-multipart",),
    "MySQLdb": ("mysqlclient",),
    "nacl": ("PyNaCl",),
    "OpenSSL": ("pyOpenSSL",),
    "PIL": ("pillow",),
    "pkg_resources": ("setuptools",),
    "pptx": ("python-pptx",),
    "psycopg2": ("psycopg2-binary", "psycopg2"),
    "pytest_django": ("pytest-django",),
    "rest_framework": ("djangorestframework",),
    "serial": ("pyserial",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "slugify": ("python-slugify",),
    "usb": ("pyusb",),
    "yaml": ("PyYAML",),
    "zmq": ("pyzmq",),
}

# Distributions whose module has the same name, apart from "-" and "_".
SAME = frozenset(
    """
    aiofiles aiohttp alembic altair anyio apscheduler arrow boto3 botocore cachetools celery certifi
    chardet click colorama coverage cryptography dask defusedxml django docker docutils elasticsearch
    faker fastapi filelock flask flask_cors flask_login flask_sqlalchemy fsspec gevent greenlet
    gunicorn h5py httpx hypothesis idna itsdangerous jinja2 joblib jsonschema keyring kubernetes lxml
    markdown markupsafe marshmallow matplotlib mock moto msgpack mypy networkx nltk numba numpy oauthlib
    openpyxl orjson packaging pandas paramiko passlib pexpect pluggy polars prometheus_client psutil
    psycopg pyarrow pydantic pydantic_settings pygments pymongo pymysql pyparsing pytest pytest_asyncio
    pytest_mock redis regex requests requests_mock respx responses rich scipy seaborn selenium sentry_sdk
    six sqlalchemy starlette statsmodels structlog sympy tabulate tenacity toml tomli tomlkit torch
    tornado tqdm transformers typer typing_extensions ujson urllib3 uvicorn watchdog websockets
    werkzeug wrapt xmltodict yarl
    """.split()
)


def distributions(module: str) -> tuple[str, ...]:
    """The distribution of a module and its alternatives; empty when the module is not known."""
    if module in DIFFERENT:
        return DIFFERENT[module]
    return (module.replace("_", "-"),) if module in SAME else ()


def resembles(module: str) -> str:
    """A known name that a module's could be a misspelling of, or an empty string."""
    known = {name.casefold(): name for name in (*DIFFERENT, *SAME, *(names[0] for names in DIFFERENT.values()))}
    close = get_close_matches(module.casefold(), known, n=1, cutoff=0.8)
    return known[close[0]] if close else ""
