"""What must not get into an image: files by their names, and well-known tokens by their form (THREATS P08)."""

from __future__ import annotations

import re

# file name or path → what it is; patterns as .gitignore writes them, first match wins
NAMES: tuple[tuple[str, str], ...] = (
    (".env", "environment file"), (".env.*", "environment file"), ("*.env", "environment file"),
    (".envrc", "environment file"),
    ("id_rsa", "ssh key"), ("id_dsa", "ssh key"), ("id_ecdsa", "ssh key"), ("id_ecdsa_sk", "ssh key"),
    ("id_ed25519", "ssh key"), ("id_ed25519_sk", "ssh key"), (".ssh", "ssh keys"),
    ("*.pem", "key or certificate"), ("*.key", "private key"), ("*.p12", "key store"), ("*.pfx", "key store"),
    ("*.jks", "key store"), ("*.keystore", "key store"), ("*.ppk", "ssh key"),
    ("*.kdbx", "password store"), ("*.age", "age key"), (".gnupg", "OpenPGP keys"),
    (".aws", "cloud credentials"), (".azure", "cloud credentials"), (".gcloud", "cloud credentials"),
    (".config/gcloud", "cloud credentials"), ("application_default_credentials.json", "cloud credentials"),
    ("*service-account*.json", "cloud credentials"), ("*service_account*.json", "cloud credentials"),
    ("client_secret*.json", "cloud credentials"), ("credentials.json", "credentials"),
    ("gcp-key*.json", "cloud credentials"), (".boto", "cloud credentials"), (".s3cfg", "cloud credentials"),
    ("rclone.conf", "cloud credentials"), (".ossutilconfig", "cloud credentials"),
    (".kube", "cluster credentials"), ("kubeconfig", "cluster credentials"),
    ("*.kubeconfig", "cluster credentials"), ("kubeconfig.y*ml", "cluster credentials"),
    (".netrc", "passwords"), ("_netrc", "passwords"), (".pypirc", "index credentials"),
    (".npmrc", "index credentials"), (".yarnrc.yml", "index credentials"), ("pip.conf", "index credentials"),
    (".docker/config.json", "registry credentials"), (".dockercfg", "registry credentials"),
    (".git-credentials", "git credentials"), (".pgpass", "database password"), (".my.cnf", "database password"),
    (".htpasswd", "password hashes"), (".vault-token", "vault token"), (".terraformrc", "tokens"),
    ("*.tfstate", "infrastructure state"), ("*.tfvars", "infrastructure secrets"),
    (".cache/huggingface/token", "hub token"), (".cache/huggingface/stored_tokens", "hub token"),
    (".huggingface", "hub token"), ("hf_token", "hub token"), ("hf_token.txt", "hub token"),
    ("kaggle.json", "hub token"), (".kaggle", "hub token"), (".wandb_api_key", "hub token"),
    (".modelscope", "hub token"), (".streamlit/secrets.toml", "secrets file"), ("secrets.toml", "secrets file"),
    ("secrets.y*ml", "secrets file"), ("secrets.json", "secrets file"), (".secrets", "secrets file"),
    (".secrets", "secrets folder"), ("*.ovpn", "vpn credentials"), (".history", "shell history"),
    (".bash_history", "shell history"), (".zsh_history", "shell history"), (".python_history", "shell history"),
)  # fmt: skip

HARMLESS: tuple[str, ...] = (
    ".env.example", ".env.sample", ".env.template", ".env.dist", "example.env", "sample.env", "*.example.env",
)  # fmt: skip
"""Files that only look like secrets by their names."""

_ASSIGNED = rb"[\"']?[ \t]{0,4}[=:][ \t]{0,4}[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"
# prefix to look for first (a plain search is fast), the whole form, what it is
_TOKENS: tuple[tuple[bytes, bytes, str], ...] = (
    (b"PRIVATE KEY", rb"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=:,\-\s]{40}",
     "private key"),
    (b"hf_", rb"\bhf_[A-Za-z0-9]{30,60}\b", "Hugging Face token"),
    (b"AKIA", rb"\bAKIA[0-9A-Z]{16}\b", "AWS access key"),
    (b"ASIA", rb"\bASIA[0-9A-Z]{16}\b", "AWS access key"),
    (b"SECRET_ACCESS_KEY", b"AWS_SECRET_ACCESS_KEY" + _ASSIGNED, "AWS secret key"),
    (b"secret_access_key", b"aws_secret_access_key" + _ASSIGNED, "AWS secret key"),
    (b"LTAI", rb"\bLTAI[0-9A-Za-z]{17,21}\b", "Alibaba Cloud access key"),
    (b"AKID", rb"\bAKID[0-9A-Za-z]{32}\b", "Tencent Cloud access key"),
    (b"AIza", rb"\bAIza[0-9A-Za-z_-]{35}\b", "Google API key"),
    (b'"private_key"', rb'"type"\s*:\s*"service_account"', "Google service account"),
    (b"ghp_", rb"\bghp_[0-9A-Za-z]{36}\b", "GitHub token"),
    (b"gho_", rb"\bgho_[0-9A-Za-z]{36}\b", "GitHub token"),
    (b"ghs_", rb"\bghs_[0-9A-Za-z]{36}\b", "GitHub token"),
    (b"github_pat_", rb"\bgithub_pat_[0-9A-Za-z_]{60,90}\b", "GitHub token"),
    (b"glpat-", rb"\bglpat-[0-9A-Za-z_-]{20,}", "GitLab token"),
    (b"sk-", rb"\bsk-(?:proj-|ant-|svcacct-|or-v1-)?[A-Za-z0-9_-]{32,200}", "model API key"),
    (b"xox", rb"\bxox[abprs]-[0-9A-Za-z-]{20,}", "Slack token"),
    (b"pypi-AgE", rb"\bpypi-AgE[A-Za-z0-9_-]{50,}", "package index token"),
    (b"npm_", rb"\bnpm_[A-Za-z0-9]{36}\b", "npm token"),
    (b"dckr_pat_", rb"\bdckr_pat_[A-Za-z0-9_-]{20,}", "registry token"),
    (b"nvapi-", rb"\bnvapi-[A-Za-z0-9_-]{40,}", "NGC key"),
    (b"sk_live_", rb"\bsk_live_[0-9A-Za-z]{20,}", "payment key"),
)  # fmt: skip


def looks_secret(content: bytes) -> str | None:
    """The kind of secret whose form is in ``content``, or None; every form is matched in linear time."""
    for prefix, form, kind in _TOKENS:
        if prefix in content:
            match = re.search(form, content)
            if match and not _placeholder(match[0]):
                return kind
    return None


def _placeholder(token: bytes) -> bool:
    """``hf_xxxxxxxx``, ``AKIAIOSFODNN7EXAMPLE``: what documentation shows."""
    return b"EXAMPLE" in token.upper() or len(set(token[-16:])) <= 4
