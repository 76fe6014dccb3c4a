"""The tool behind a user agent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.kube.user_agent import tool


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        ("kubectl/v1.37.1 (linux/amd64) kubernetes/f78e722", "kubectl"),
        ("kubectl", "kubectl"),
        ("Helm/3.19", "helm"),
        ("Helm/4.1.0", "helm"),
        ("helm-controller/v0.0.0 (linux/amd64) kubernetes/$Format", "flux"),
        ("k9s/v0.50.6 (linux/amd64) kubernetes/abcdef0", "k9s"),
        ("argocd-application-controller/v0.0.0 (linux/amd64) kubernetes/$Format", "argocd"),
        ("my-operator/v0.0.0 (linux/amd64) kubernetes/$Format", "client-go"),
        ("HashiCorp/1.0 Terraform/1.9.0", "terraform"),
        ("Terraform/1.9.0 (+https://www.terraform.io)", "terraform"),
        ("OpenAPI-Generator/36.0.0/python", "python"),
        ("python-requests/2.32", "python"),
        ("Python/3.11 aiohttp/3.14", "python"),
        ("curl/8.5.0", "curl"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "browser"),
        ("Go-http-client/1.1", "go"),
        ("kubectlx/1", "unknown"),
        ("", "unknown"),
        (" kubectl", "unknown"),
        ("\udcff", "unknown"),
        ("\x00" * 70_000, "unknown"),
        ("k" * 70_000, "unknown"),
    ],
)
def test_tool(user_agent: str, expected: str) -> None:
    assert tool(user_agent) == expected


@given(st.text(max_size=300))
def test_lesson_22_any_text_gives_a_word(user_agent: str) -> None:
    assert tool(user_agent).replace("-", "").isalnum()
