"""What an API server says around its service proxy, on a lying server."""

from __future__ import annotations

from gitopsd.domain.manifests import Json
from tests.support.lying_server import Answering, LyingServer, reply_json

_NO_GROUPS: Json = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2"}
_CORE: Json = {
    "kind": "APIGroupDiscoveryList",
    "apiVersion": "apidiscovery.k8s.io/v2",
    "items": [
        {
            "metadata": {},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {
                            "resource": "services",
                            "responseKind": {"group": "", "version": "v1", "kind": "Service"},
                            "scope": "Namespaced",
                            "verbs": ["get", "list"],
                        }
                    ],
                }
            ],
        }
    ],
}
_SERVICE: Json = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}}


def kubernetes_status(code: int, message: str, reason: str = "", **headers: str) -> Answering:
    """Answer with a Status object, as the API server itself does."""
    return reply_json(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        },
        code,
        **headers,
    )


def serve_as_api_server(server: LyingServer) -> None:
    """Answer discovery and reads of the service well; what is next goes to the proxy."""
    server.elsewhere = {
        "/services/api": reply_json(_SERVICE),
        "/apis": reply_json(_NO_GROUPS),
        "/api": reply_json(_CORE),
    }


def break_api_server(server: LyingServer, answering: Answering) -> None:
    """Let everything but the proxy answer like this."""
    server.elsewhere = {"/": answering}
